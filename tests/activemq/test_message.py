"""The message contract: text or bytes, and requests out and in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activemq.errors import LocalProtocolError, MessageError
from activemq.frames import Frame
from activemq.message import (
    RequestEncoder,
    RequestMessage,
    encode_reply,
    is_text,
    property_of,
    property_size,
)
from tests.activemq.harness import request, sent

# -- text or bytes


@pytest.mark.parametrize(
    "media_type",
    [
        *("text/plain", "text/html; charset=utf-8", "TEXT/PLAIN", "text/csv;header=present"),
        *("application/json", "application/json; charset=UTF-8", "application/problem+json", "application/xml"),
        *(
            "image/svg+xml",
            "application/x-www-form-urlencoded",
            'text/plain; charset="utf-8"',
            "text/plain;charset=utf8",
        ),
        *("text/plain; charset=us-ascii", " text/plain "),
    ],
)
def test_text_is_what_says_so_and_is_utf_8(media_type: str) -> None:
    assert is_text(media_type, "héllo".encode())
    assert is_text(media_type, b"")


@pytest.mark.parametrize(
    "media_type",
    [
        *("application/octet-stream", "image/png", "multipart/form-data; boundary=x", "multipart/mixed", "text", ""),
        *("text/plain; charset=iso-8859-1", "application/json; charset=utf-16", "text/plain; charset=", "jsonx/y"),
        *("application/jsonp", "application/json-seq"),
    ],
)
def test_all_else_is_bytes(media_type: str) -> None:
    assert not is_text(media_type, b"hello")


@pytest.mark.parametrize("body", [b"a\0b", b"\0", b"\xff", b"\xc3", "é".encode("latin-1"), b"\xed\xa0\xbd\xed\xb8\x80"])
def test_a_body_that_no_text_message_can_carry_is_bytes(body: bytes) -> None:
    assert not is_text("text/plain", body)


def test_a_body_of_no_said_type_is_bytes() -> None:
    assert not is_text(None, b"hello")


# -- requests


ENCODER = RequestEncoder(destination="/queue/orders", reply_to="/temp-queue/r", route="orders")


def encode_request(body: bytes = b"", *, text: bool = True, properties: tuple[tuple[str, str], ...] = ()) -> bytes:
    return ENCODER.encode("c1", ("expires", "2000"), 2000, 1000, 4, properties, body, text=text)


def test_a_request_carries_what_the_contract_says() -> None:
    frame = sent(encode_request(b"{}", properties=(("http_method", "POST"), ("http_header_x_y", "1"))))
    assert frame.headers == {
        "destination": "/queue/orders",
        "reply-to": "/temp-queue/r",
        "type": "orders",
        "correlation-id": "c1",
        "receipt": "c1",
        "expires": "2000",
        "priority": "4",
        "deadline_ms": "2000",
        "budget_ms": "1000",
        "http_method": "POST",
        "http_header_x_y": "1",
    }
    assert frame.body == b"{}"


def test_a_persistent_route_says_so_and_constant_properties_are_on_each_message() -> None:
    encoder = RequestEncoder(
        destination="/queue/a", reply_to="/temp-queue/r", route="a", persistent=True, properties=[("max_reply", "9:9")]
    )
    frame = sent(encoder.encode("c", ("expires", "1"), 1, 1, 9, (), b"", text=True))
    assert (frame.get("persistent"), frame.get("max_reply"), frame.get("priority")) == ("true", "9:9", "9")


def test_bytes_have_a_content_length_and_text_has_none() -> None:
    assert sent(encode_request("é".encode(), text=False)).get("content-length") == "2"
    assert sent(encode_request("é".encode(), text=True)).get("content-length") is None


@given(st.binary(max_size=100))
def test_bytes_leave_as_they_are(body: bytes) -> None:
    assert sent(encode_request(body, text=False)).body == body


@pytest.mark.parametrize("value", ["a:b\\c", "CR\rLF\n", "é😀", "", "reply-to:/queue/x"])
def test_values_cannot_become_headers(value: str) -> None:
    frame = sent(encode_request(properties=(("http_header_x", value),)))
    assert frame.get("http_header_x") == value
    assert len(frame.headers) == 10


def test_a_nul_in_a_property_is_refused() -> None:
    with pytest.raises(LocalProtocolError):
        encode_request(properties=(("http_header_x", "a\0b"),))


def test_a_headers_property_is_a_java_identifier() -> None:
    assert property_of("Accept-Language") == "http_header_accept_language"
    assert property_of("Accept-Language").isidentifier()


@pytest.mark.parametrize(("value", "size"), [("abc", 3), ("é", 2), ("a:b", 4), ("\\", 2), ("\r\n", 4)])
def test_a_propertys_size_is_what_it_takes_on_the_wire(value: str, size: int) -> None:
    assert property_size(value) == size


def test_a_worker_reads_what_a_bridge_has_sent() -> None:
    headers = sent(
        encode_request(b"x", properties=(("path_id", "7"), ("path_kind", "a"), ("content_type", "text/plain")))
    )
    message = RequestMessage(headers)
    assert message.correlation_id == "c1"
    assert message.body == b"x"
    assert message.content_type == "text/plain"
    assert message.deadline_ms == 2000
    assert message.number("budget_ms") == 1000
    assert message.prefixed("path_") == {"id": "7", "kind": "a"}
    assert message.text("type") == "orders"
    assert (message.persistent, message.redelivered, message.attempt) == (False, False, 1)


def test_a_java_requesters_message_id_stands_in_for_a_correlation_id() -> None:
    message = RequestMessage(Frame.of("MESSAGE", {"message-id": "ID:1"}))
    assert (message.correlation_id, message.reply_to) == ("ID:1", None)


def test_reply_to_is_left_as_it_stood_on_the_wire() -> None:
    assert request().reply_to == r"/remote-temp-queue/ID\c1"


def test_the_messages_expiry_stands_in_for_a_deadline() -> None:
    assert request(expires="5000").deadline_ms == 5000
    assert request(expires="5000", deadline_ms="4000").deadline_ms == 4000
    assert request(expires="0").deadline_ms is None
    assert request().deadline_ms is None


@pytest.mark.parametrize("value", ["abc", "-1", "1.5", "", "1" * 19, "٣", "1 "])
def test_a_number_that_is_none_is_named(value: str) -> None:
    with pytest.raises(MessageError, match="deadline_ms: is not a whole number") as error:
        _ = request(deadline_ms=value).deadline_ms
    assert error.value.field == "deadline_ms"


@pytest.mark.parametrize(("value", "expected"), [(None, 1), ("1", 1), ("3", 3)])
def test_the_attempt_is_1_unless_said(value: str | None, expected: int) -> None:
    assert request(**({} if value is None else {"attempt": value})).attempt == expected


def test_stomps_own_content_type_is_read_too() -> None:
    assert request(content__type="a/b").content_type == "a/b"
    assert request(content__type="a/b", content_type="c/d").content_type == "c/d"


@pytest.mark.parametrize("value", ["/queue/a\0SEND", "\0", "/queue/a\0"])
def test_nobody_waits_for_a_reply_at_a_name_that_would_end_our_frame(value: str) -> None:
    message = RequestMessage(Frame("MESSAGE", f"\ncorrelation-id:c\nreply-to:{value}"))
    assert message.reply_to is None
    with pytest.raises(MessageError, match="reply-to"):
        encode_reply(message, receipt="r")
