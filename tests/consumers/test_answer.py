"""What is checked of a message before it is run, and of a reply before it is sent."""

from __future__ import annotations

import pytest

from activemq import Frame, RequestMessage
from activemq.errors import MessageError
from activemq.frames import CLIENT_COMMANDS
from activemq.parser import Parser
from consumers import Reply
from consumers.answer import DEFAULT_MAX_REPLY, call_of, deadline_of, encode_answer, replies_to, timings
from consumers.reply import BadReplyError


def message_of(**headers: str) -> RequestMessage:
    named = {name.replace("_to", "-to").replace("_id", "-id"): value for name, value in headers.items()}
    return RequestMessage(Frame.of("MESSAGE", {"reply-to": "/remote-temp-queue/ID:1", "message-id": "ID:2"} | named))


def sent(reply: Reply, **headers: str) -> Frame:
    (frame,) = Parser(commands=CLIENT_COMMANDS).feed(encode_answer(message_of(**headers), reply, "r1"))
    return frame


def why_not(reply: Reply, **headers: str) -> str:
    with pytest.raises(BadReplyError) as raised:
        encode_answer(message_of(**headers), reply, "r1")
    return str(raised.value)


def test_the_frame_of_a_reply():
    frame = sent(Reply(b"x", 201, "text/plain", {"x-a": "1"}), correlation_id="c:1")
    assert frame.command == "SEND"
    assert frame.headers == {
        "destination": "/remote-temp-queue/ID:1",
        "correlation-id": "c:1",
        "receipt": "r1",
        "http_status": "201",
        "content_type": "text/plain",
        "http_header_x_a": "1",
    }
    assert frame.body == b"x"


@pytest.mark.parametrize("status", [200, 204, 304, 599])
def test_a_status_in_range_passes(status):
    assert sent(Reply(status=status)).get("http_status") == str(status)


@pytest.mark.parametrize("status", [199, 600, 99, 0, -200, 10**9, "200", 200.0, None, True])
def test_a_status_out_of_range_does_not(status):
    assert "status" in why_not(Reply(status=status))


def test_a_header_is_held_to_what_a_property_can_carry():
    assert sent(Reply(headers={"x-a": "x" * 8192})).get("http_header_x_a") == "x" * 8192
    assert "8193" in why_not(Reply(headers={"x-a": "x" * 8193}))
    assert sent(Reply(headers={"a" * 128: "1"}))
    assert "name" in why_not(Reply(headers={"a" * 129: "1"}))


def test_the_number_of_headers_is_held_to_a_limit():
    assert sent(Reply(headers={f"x-{number}": "" for number in range(200)}))
    assert "201 headers" in why_not(Reply(headers={f"x-{number}": "" for number in range(201)}))


@pytest.mark.parametrize(("limit", "headers"), [(7, {"max_reply": "7"}), (DEFAULT_MAX_REPLY, {})])
def test_the_body_is_held_to_the_limit(limit, headers):
    assert len(sent(Reply(b"x" * limit), **headers).body) == limit
    assert str(limit + 1) in why_not(Reply(b"x" * (limit + 1)), **headers)


def test_a_limit_that_is_no_number_lets_nothing_through():
    assert "max_reply" in why_not(Reply(b""), max_reply="much")


def test_a_message_whose_body_was_thrown_away_is_not_to_be_run():
    message = message_of()
    message.frame.oversize = 17
    with pytest.raises(MessageError, match="17 bytes"):
        deadline_of(message)


def test_a_deadline_with_an_undefined_escape_is_an_error_of_the_message():
    message = RequestMessage(Frame("MESSAGE", "\ndeadline_ms:1\\q"))
    with pytest.raises(MessageError, match="escape"):
        deadline_of(message)


def test_a_call_has_a_name_for_the_log_whatever_is_in_its_headers():
    assert call_of(RequestMessage(Frame("MESSAGE", "\ncorrelation-id:a\\q\\n"))) == "a\\q\\n"
    assert call_of(RequestMessage(Frame("MESSAGE", "\nmessage-id:ID\\c1"))) == "ID\\c1"
    assert call_of(RequestMessage(Frame("MESSAGE", ""))) == "without id"


@pytest.mark.parametrize(
    ("headers", "replies"),
    [
        ({}, True),
        ({"reply_to": "/queue/answers"}, True),
        ({"reply_to": "/queue/"}, False),
        ({"reply_to": "/queue/ "}, False),
        ({"reply_to": ""}, False),
        ({"correlation_id": "x" * 8192}, True),
        ({"correlation_id": "x" * 8193}, False),
        ({"correlation_id": ":" * 4096}, True),
        ({"correlation_id": ":" * 4097}, False),
    ],
)
def test_a_destination_or_id_that_would_cost_the_connection_is_nobody(headers, replies):
    assert replies_to(message_of(**headers)) == replies


def test_nobody_is_nobody():
    assert not replies_to(RequestMessage(Frame("MESSAGE", "\ncorrelation-id:1")))


def test_timings_are_for_bridges():
    told = timings(message_of(budget_ms="3000"), 5_000, "w", 2_250, 0.0125)
    assert told == [("attempt", "1"), ("worker", "w"), ("queue_ms", "250"), ("work_ms", "12.50")]


def test_a_clock_that_is_a_little_off_does_not_make_a_negative_time():
    assert ("queue_ms", "0") in timings(message_of(budget_ms="3000"), 5_000, "w", 1_990, 0)


@pytest.mark.parametrize(
    ("deadline", "headers"), [(None, {"budget_ms": "1"}), (5_000, {}), (5_000, {"budget_ms": "x"})]
)
def test_no_timings_without_both_times(deadline, headers):
    assert timings(message_of(**headers), deadline, "w", 0, 0) == []
