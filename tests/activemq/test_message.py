"""The message contract: what leaves as a request or a reply, and what is made of one that comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activemq.errors import LocalProtocolError, MessageError
from activemq.frames import CLIENT_COMMANDS, Frame
from activemq.message import (
    MAX_PROPERTY,
    PROBLEMS,
    ReplyMessage,
    RequestEncoder,
    RequestMessage,
    encode_reply,
    is_text,
    property_of,
    property_size,
)
from activemq.parser import Parser


def sent(data: bytes) -> Frame:
    (frame,) = Parser(commands=CLIENT_COMMANDS).feed(data)
    assert frame.command == "SEND"
    return frame


def request(body: bytes = b"", /, **headers: str) -> RequestMessage:
    named = {name.replace("__", "-"): value for name, value in headers.items()}
    return RequestMessage(
        Frame.of("MESSAGE", {"correlation-id": "c1", "reply-to": "/remote-temp-queue/ID:1"} | named, body)
    )


def reply(body: bytes = b"", /, **headers: str) -> ReplyMessage:
    named = {name.replace("__", "-"): value for name, value in headers.items()}
    return ReplyMessage(Frame.of("MESSAGE", {"correlation-id": "c1"} | named, body))


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


# -- replies out


def encoded(message: RequestMessage, **options: object) -> Frame:
    return sent(encode_reply(message, receipt="r1", **options))


def test_a_reply_goes_to_reply_to_with_the_correlation_id() -> None:
    frame = encoded(request(), body=b"ok", content_type="text/plain", headers=[("X-Y", "1")])
    assert frame.headers == {
        "destination": "/remote-temp-queue/ID:1",
        "correlation-id": "c1",
        "receipt": "r1",
        "http_status": "200",
        "content_type": "text/plain",
        "http_header_x_y": "1",
    }
    assert frame.raw("destination") == r"/remote-temp-queue/ID\c1"
    assert frame.body == b"ok"


def test_a_reply_is_persistent_if_its_request_was() -> None:
    assert encoded(request(persistent="true")).get("persistent") == "true"
    assert encoded(request()).get("persistent") is None


def test_a_problem_is_said_in_place_of_a_status() -> None:
    frame = encoded(request(), problem="worker-failed", properties=[("attempt", "2")])
    assert (frame.get("problem"), frame.get("http_status"), frame.get("attempt")) == ("worker-failed", None, "2")


def test_a_text_reply_has_no_length_and_bytes_have_one() -> None:
    assert encoded(request(), body=b"{}", content_type="application/json").get("content-length") is None
    assert encoded(request(), body=b"a\0b", content_type="application/json").get("content-length") == "3"
    assert encoded(request(), body=b"{}").get("content-length") == "2"


@pytest.mark.parametrize("correlation_id", ["a:b", "a\nb", "a\\b"])
def test_a_foreign_correlation_id_comes_back_as_it_was(correlation_id: str) -> None:
    assert encoded(request(correlation__id=correlation_id)).get("correlation-id") == correlation_id


def test_without_a_reply_to_there_is_no_reply() -> None:
    with pytest.raises(MessageError, match="reply-to: the request has none"):
        encode_reply(RequestMessage(Frame.of("MESSAGE", {})), receipt="r")


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\0b", "\x7f", "\x1f"])
@pytest.mark.parametrize("place", ["content_type", "headers"])
def test_a_value_that_is_no_http_header_is_refused(value: str, place: str) -> None:
    options = {"content_type": value} if place == "content_type" else {"headers": [("x-y", value)]}
    with pytest.raises(MessageError, match="control character") as error:
        encode_reply(request(), receipt="r", **options)
    assert error.value.field == ("content_type" if place == "content_type" else "http_header_x_y")


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\nreceipt", "a\r", "é", "a\0", "(x)"])
def test_a_name_that_is_no_http_header_is_refused(name: str) -> None:
    with pytest.raises(MessageError, match="is not the name of a header"):
        encode_reply(request(), receipt="r", headers=[(name, "1")])


def test_a_tab_is_a_part_of_a_header() -> None:
    assert encoded(request(), headers=[("x", "a\tb")]).get("http_header_x") == "a\tb"


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(MessageError):
        encode_reply(request(), receipt="r", headers=[("x", "\ud83d")])


@pytest.mark.parametrize(
    ("value", "ok"),
    [
        ("x" * (MAX_PROPERTY - 1), True),
        ("x" * MAX_PROPERTY, True),
        ("x" * (MAX_PROPERTY + 1), False),
        (":" * (MAX_PROPERTY // 2), True),
        (":" * (MAX_PROPERTY // 2) + "x", False),
    ],
    ids=["N-1", "N", "N+1", "N escaped", "N+1 escaped"],
)
def test_a_header_over_8_kib_on_the_wire_could_cost_the_connection(value: str, ok: bool) -> None:
    if ok:
        assert encoded(request(), headers=[("x", value)]).get("http_header_x") == value
    else:
        with pytest.raises(MessageError, match=f"over the limit of {MAX_PROPERTY}"):
            encode_reply(request(), receipt="r", headers=[("x", value)])


# -- replies in


def test_a_bare_reply_is_a_200() -> None:
    message = reply(b"hello")
    assert (message.status, message.body, message.kind, message.problem) == (200, b"hello", "final", None)


@pytest.mark.parametrize("status", [200, 201, 404, 599])
def test_a_status_that_an_answer_may_have(status: int) -> None:
    assert reply(http_status=str(status)).status == status


@pytest.mark.parametrize(
    "status", ["abc", "99", "100", "199", "600", "1000", "", "+200", "20 0", "\uff12\uff10\uff10", "2e2", "-200"]
)
def test_a_status_that_no_answer_may_have(status: str) -> None:
    with pytest.raises(MessageError, match="http_status: must be 200 to 599"):
        reply(http_status=status)


@pytest.mark.parametrize("problem", sorted(PROBLEMS))
def test_a_problem_of_the_contract_is_taken(problem: str) -> None:
    assert reply(problem=problem).problem == problem


def test_any_other_problem_is_a_workers_failure() -> None:
    assert reply(problem="no-such-thing").problem == "worker-failed"


def test_the_content_type_is_the_property_else_stomps_else_by_kind() -> None:
    assert reply(content_type="a/b", content__type="c/d").content_type == "a/b"
    assert reply(content__type="c/d").content_type == "c/d"
    assert reply().content_type == "text/plain; charset=utf-8"
    assert reply(content__length="0").content_type == "application/octet-stream"


@pytest.mark.parametrize("value", ["a\r\nb", "a\0b", "a\x7fb"])
def test_what_cannot_be_an_http_header_is_named(value: str) -> None:
    message = ReplyMessage(Frame("MESSAGE", f"\ncontent_type:{value}\nhttp_header_x:{value}".replace("\r\n", "\\r\\n")))
    for read, field in (
        (lambda: message.content_type, "content_type"),
        (lambda: message.property("http_header_x"), "x"),
    ):
        with pytest.raises(MessageError) as error:
            read()
        assert error.value.field.endswith(field)


def test_a_property_that_is_not_there_is_none() -> None:
    assert reply().property("http_header_x") is None
    assert reply(http_header_x="1").property("http_header_x") == "1"


@pytest.mark.parametrize(("value", "expected"), [("1.5", 1.5), ("0", 0.0), ("12", 12.0)])
def test_a_duration_is_read(value: str, expected: float) -> None:
    assert reply(work_ms=value).milliseconds("work_ms") == expected


@pytest.mark.parametrize("value", ["", "abc", "-1", "nan", "inf", "1e12", "-0.1"])
def test_a_duration_that_is_none_is_left_out(value: str) -> None:
    assert reply(work_ms=value).milliseconds("work_ms") is None
    assert reply().milliseconds("work_ms") is None
