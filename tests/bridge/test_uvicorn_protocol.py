"""A response's head and its body in one write."""

from __future__ import annotations

import pytest

from bridge.uvicorn_protocol import HeadWithBody

HEAD = b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: %d\r\n\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Transport:
    def __init__(self):
        self.writes = []
        self.closed = False

    def write(self, data):
        assert not self.closed
        self.writes.append(data)

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed


@pytest.fixture
def transport():
    return Transport()


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536])
def test_a_head_leaves_with_the_body_that_it_announces(transport, size):
    joined = HeadWithBody(transport)
    joined.write(HEAD % size)
    assert transport.writes == []
    joined.write(b"x" * size)
    assert transport.writes == [HEAD % size + b"x" * size]


def test_a_large_body_is_not_copied(transport):
    joined = HeadWithBody(transport)
    joined.write(HEAD % 65_537)
    joined.write(b"x" * 65_537)
    assert transport.writes == [HEAD % 65_537, b"x" * 65_537]


def test_what_follows_the_first_part_leaves_as_it_comes_whatever_it_looks_like(transport):
    joined = HeadWithBody(transport)
    for data in (HEAD % 200, b"a", HEAD % 1, b"b"):
        joined.write(data)
    assert transport.writes == [HEAD % 200 + b"a", HEAD % 1, b"b"]


def test_the_head_of_a_body_without_an_end_leaves_at_once(transport):
    joined = HeadWithBody(transport)
    for data in (ENDLESS, HEAD % 1):
        joined.write(data)
    assert transport.writes == [ENDLESS, HEAD % 1]


def test_a_continue_before_the_head_leaves_at_once(transport):
    joined = HeadWithBody(transport)
    for data in (b"HTTP/1.1 100 Continue\r\n\r\n", HEAD % 1, b"x"):
        joined.write(data)
    assert transport.writes == [b"HTTP/1.1 100 Continue\r\n\r\n", HEAD % 1 + b"x"]


def test_a_head_whose_body_never_comes_leaves_before_the_end(transport):
    joined = HeadWithBody(transport)
    joined.write(HEAD % 1)
    assert not joined.is_closing()
    joined.close()
    assert transport.writes == [HEAD % 1]
    assert joined.is_closing()
