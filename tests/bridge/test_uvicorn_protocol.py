"""A response's head and its body in one write."""

from __future__ import annotations

import pytest

from bridge.connections import GIVEN_UP_AFTER
from bridge.uvicorn_protocol import HeadWithBody, close

HEAD = b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: %d\r\n\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Transport:
    def __init__(self):
        self.writes = []
        self.closed = False
        self.aborted = False
        self.unsent = 0

    def get_write_buffer_size(self):
        return self.unsent

    def abort(self):
        self.aborted = True

    def write(self, data):
        assert not self.closed
        self.writes.append(data)

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed


class Loop:
    """Calls nothing later, and remembers what."""

    def __init__(self):
        self.later = []

    def call_later(self, delay, callback):
        self.later.append((delay, callback))


@pytest.fixture
def transport():
    return Transport()


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536])
def test_a_head_leaves_with_the_body_that_it_announces(transport, size):
    joined = HeadWithBody(transport, Loop())
    joined.write(HEAD % size)
    assert transport.writes == []
    joined.write(b"x" * size)
    assert transport.writes == [HEAD % size + b"x" * size]


def test_a_large_body_is_not_copied(transport):
    joined = HeadWithBody(transport, Loop())
    joined.write(HEAD % 65_537)
    joined.write(b"x" * 65_537)
    assert transport.writes == [HEAD % 65_537, b"x" * 65_537]


def test_what_follows_the_first_part_leaves_as_it_comes_whatever_it_looks_like(transport):
    joined = HeadWithBody(transport, Loop())
    for data in (HEAD % 200, b"a", HEAD % 1, b"b"):
        joined.write(data)
    assert transport.writes == [HEAD % 200 + b"a", HEAD % 1, b"b"]


def test_the_head_of_a_body_without_an_end_leaves_at_once(transport):
    joined = HeadWithBody(transport, Loop())
    for data in (ENDLESS, HEAD % 1):
        joined.write(data)
    assert transport.writes == [ENDLESS, HEAD % 1]


def test_a_continue_before_the_head_leaves_at_once(transport):
    joined = HeadWithBody(transport, Loop())
    for data in (b"HTTP/1.1 100 Continue\r\n\r\n", HEAD % 1, b"x"):
        joined.write(data)
    assert transport.writes == [b"HTTP/1.1 100 Continue\r\n\r\n", HEAD % 1 + b"x"]


def test_a_head_whose_body_never_comes_leaves_before_the_end(transport):
    joined = HeadWithBody(transport, Loop())
    joined.write(HEAD % 1)
    assert not joined.is_closing()
    joined.close()
    assert transport.writes == [HEAD % 1]
    assert joined.is_closing()


@pytest.mark.parametrize(("unsent", "timers"), [(0, 0), (1, 1)])
def test_what_is_left_unread_when_a_connection_is_closed_has_its_time_and_no_more(transport, unsent, timers):
    loop = Loop()
    transport.unsent = unsent
    close(transport, loop)
    assert transport.closed
    assert not transport.aborted
    assert [delay for delay, _ in loop.later] == [GIVEN_UP_AFTER] * timers
    for _, give_up in loop.later:
        give_up()
    assert transport.aborted == bool(timers)
