"""Bytes in, events out: whole, byte by byte, with what does not belong to them."""

from __future__ import annotations

import json

import httpx
import pytest

from bridge.client import (
    AsyncBridgeClient,
    BridgeClient,
    Event,
    EventReader,
    EventStreamError,
    aiter_events,
    iter_events,
)
from bridge.events import SILENCE, encode_event

STREAM = (
    encode_event("started", 1, b'{"attempt": 1}')
    + SILENCE
    + encode_event("progress", 2, b"{}")
    + encode_event("done", 3, json.dumps({"status": 200, "body": "\u00e4\n"}).encode())
)
EVENTS = [
    Event("started", {"attempt": 1}, 1),
    Event("progress", {}, 2),
    Event("done", {"status": 200, "body": "ä\n"}, 3),
]


def read(*parts, limit=1_000):
    reader = EventReader(limit)
    return [event for part in parts for event in reader.feed(part)]


def test_events_of_a_bridge_whole():
    assert read(STREAM) == EVENTS
    assert [event.is_last for event in EVENTS] == [False, False, True]


def test_byte_by_byte():
    assert read(*(STREAM[at : at + 1] for at in range(len(STREAM)))) == EVENTS


@pytest.mark.parametrize("at", range(len(STREAM)))
def test_cut_anywhere(at):
    assert read(STREAM[:at], STREAM[at:]) == EVENTS


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_each_kind_of_line_end(end):
    data = STREAM.replace(b"\n", end) + b"event: progress" + end
    assert read(data) == EVENTS
    assert read(*(data[at : at + 1] for at in range(len(data)))) == EVENTS


def test_what_is_not_whole_is_no_event():
    assert read(b"event: done\ndata: {}\nid: 1\n") == []


@pytest.mark.parametrize(
    ("data", "event"),
    [
        (b"data: 1\n\n", Event("message", 1)),
        (b"data:1\ndata: \n\n", Event("message", 1)),
        (b"data: [1,\ndata: 2]\n\n", Event("message", [1, 2])),
        (b"event: failed\ndata: {}\n\n", Event("failed", {})),
        (b"id: x\ndata: 1\n\n", Event("message", 1)),
        (b"id: 1234567890123456789\ndata: 1\n\n", Event("message", 1)),
        (b"id: 123456789012345678\ndata: 1\n\n", Event("message", 1, 123456789012345678)),
        (b"retry: 5\n: word\nother\ndata: 1\n\n", Event("message", 1)),
    ],
)
def test_fields(data, event):
    assert read(data) == [event]


def test_an_id_is_its_own_events_alone():
    assert [event.id for event in read(b"id: 1\ndata: 1\n\ndata: 2\n\n")] == [1, None]


def test_without_data_there_is_no_event():
    assert read(b"event: done\nid: 1\n\n:\n\n") == []


@pytest.mark.parametrize(("size", "fits"), [(99, True), (100, True), (101, False)])
@pytest.mark.parametrize("lines", [1, 2])
def test_an_event_has_a_limit(size, fits, lines):
    line = b"data: " + b" " * (size - 7 - (lines - 1) * 5) + b"1"
    data = b"data:" * (lines - 1) + b"\n" * (lines - 1) + line
    if fits:
        assert len(read(data, b"\n\n", limit=100)) == 1
    else:
        with pytest.raises(EventStreamError):
            read(data, limit=100)


def test_data_that_is_not_json_is_said_and_not_shown():
    with pytest.raises(EventStreamError, match="'done' is not JSON") as caught:
        read(b"event: done\ndata: secret\n\n")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, text="data: 1\n\n"),
        httpx.Response(404, headers={"content-type": "text/event-stream"}),
    ],
)
async def test_what_is_no_stream_of_events_is_said(response):
    transport = httpx.MockTransport(lambda _: response)
    refused = pytest.raises(EventStreamError, match="not a stream")
    with BridgeClient("http://a", transport=transport) as client, client.stream("GET", "/r") as found, refused:
        list(iter_events(found))
    async with AsyncBridgeClient("http://a", transport=transport) as other, other.stream("GET", "/r") as found:
        with pytest.raises(EventStreamError, match="not a stream"):
            _ = [event async for event in aiter_events(found)]
