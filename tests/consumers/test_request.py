"""What a handler can ask its request."""

from __future__ import annotations

import pytest

from activemq import Clock, Frame, RequestMessage
from activemq.errors import MessageError
from consumers import Request


def request_of(body: bytes = b"", clock: Clock | None = None, **headers: str) -> Request:
    frame = Frame.of("MESSAGE", {name.replace("_id", "-id"): value for name, value in headers.items()}, body)
    return Request(RequestMessage(frame), clock or Clock())


def test_a_request_of_a_bridge():
    request = request_of(
        b'{"a":1}',
        correlation_id="c1",
        content_type="application/json",
        http_method="PUT",
        http_target="/things/7?x=%20y",
        type="things",
        caller="shop",
        attempt="2",
        path_thing="7",
        path_my_key="k",
        http_header_accept_language="de, en",
        http_header_x_shop="a:b",
        traceparent="00-1-2-01",
        tracestate="v=1",
        max_reply="10",
    )
    assert request.body == b'{"a":1}'
    assert request.text() == '{"a":1}'
    assert request.json() == {"a": 1}
    assert request.correlation_id == "c1"
    assert request.content_type == "application/json"
    assert (request.method, request.target) == ("PUT", "/things/7?x=%20y")
    assert (request.route, request.caller, request.attempt) == ("things", "shop", 2)
    assert request.path == {"thing": "7", "my_key": "k"}
    assert request.headers == {"accept-language": "de, en", "x-shop": "a:b"}
    assert request.trace == {"traceparent": "00-1-2-01", "tracestate": "v=1"}
    assert request.max_reply == 10


def test_a_request_of_somebody_who_sets_nothing():
    request = request_of(message_id="ID:1")
    assert request.correlation_id == "ID:1"
    assert request.content_type is None
    assert (request.method, request.target) == ("POST", "/")
    assert (request.route, request.caller, request.attempt) == (None, None, 1)
    assert (request.path, request.headers, request.trace) == ({}, {}, {})
    assert request.remaining() is None
    assert request.max_reply == 4 * 1024 * 1024 - 64 * 1024


def test_what_remains_is_told_in_the_brokers_time():
    clock = Clock(offset_ms=-3_600_000)
    request = request_of(clock=clock, deadline_ms=str(clock.now_ms() + 10_000))
    assert 9 < request.remaining() <= 10


def test_what_remains_is_negative_after_the_end():
    clock = Clock()
    assert request_of(clock=clock, deadline_ms=str(clock.now_ms() - 5_000)).remaining() <= -5


def test_text_that_is_none_and_json_that_is_none():
    with pytest.raises(UnicodeDecodeError):
        request_of(b"\xff").text()
    with pytest.raises(ValueError, match="EOF"):
        request_of(b"{").json()


def test_a_number_that_is_none_is_named():
    with pytest.raises(MessageError, match="attempt"):
        _ = request_of(attempt="x").attempt


def test_its_repr_shows_no_body_and_no_headers():
    text = repr(request_of(b"secret", correlation_id="c1", http_header_x="secret"))
    assert "secret" not in text
    assert "c1" in text
