"""The message contract: replies out and in, and what goes beside a reply or in the place of a request."""

import pytest

from activemq.errors import MessageError
from activemq.frames import Frame
from activemq.message import (
    MAX_PROPERTY,
    PROBLEMS,
    ReplyMessage,
    RequestMessage,
    encode_cancel,
    encode_copy,
    encode_notice,
    encode_poison,
    encode_reply,
)
from tests.activemq.harness import reply, request, sent

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


# -- what goes beside a reply, and in the place of a request


def test_a_notice_says_its_kind_attempt_and_place_and_asks_for_nothing() -> None:
    frame = sent(encode_notice(request(attempt="2"), "started", 0, [("worker", "w:1")]))
    assert frame.headers == {
        "destination": "/remote-temp-queue/ID:1",
        "correlation-id": "c1",
        "reply_kind": "started",
        "attempt": "2",
        "sequence": "0",
        "worker": "w:1",
    }
    assert frame.body == b""


def test_a_cancel_names_the_call() -> None:
    frame = sent(encode_cancel("/topic/bridge.cancel", "c1"))
    assert (frame.headers, frame.body) == ({"destination": "/topic/bridge.cancel", "correlation-id": "c1"}, b"")


@pytest.mark.parametrize(("value", "kinds"), [(None, set()), ("", set()), ("started  chunk", {"started", "chunk"})])
def test_which_kinds_of_replies_are_wanted(value: str | None, kinds: set[str]) -> None:
    assert request(**({} if value is None else {"reply_kinds": value})).reply_kinds == kinds


DELIVERED = {
    "message-id": "ID:7",
    "subscription": "s1",
    "ack": "ID:8",
    "destination": "/queue/orders",
    "timestamp": "5",
    "redelivered": "true",
}
KEPT = {"expires": "9", "priority": "7", "type": "orders", "odd:name": "a:b\\c\n", "http_header_x": "é"}


def test_a_copy_is_equal_but_for_its_attempt() -> None:
    original = request(b"body", **DELIVERED, **KEPT, attempt="1", persistent="true")
    frame = sent(encode_copy(original, "/queue/orders", 2, [("transaction", "t1")]))
    assert frame.headers == {
        **KEPT,
        "destination": "/queue/orders",
        "attempt": "2",
        "transaction": "t1",
        "correlation-id": "c1",
        "reply-to": "/remote-temp-queue/ID:1",
        "persistent": "true",
    }
    assert frame.body == b"body"


@pytest.mark.parametrize(
    ("body", "headers", "length"),
    [
        (b"text", {}, None),
        (b"a\0b", {"content__length": "3"}, "3"),
        (b"a\0b", {}, "3"),
        (b"", {"content__length": "0"}, "0"),
    ],
    ids=["text", "bytes", "a JMS text with a NUL", "no bytes"],
)
def test_a_copy_is_of_the_same_kind(body: bytes, headers: dict[str, str], length: str | None) -> None:
    frame = sent(encode_copy(request(body, **headers), "/queue/orders", 2, [("transaction", "t")]))
    assert (frame.get("content-length"), frame.body) == (length, body)


def test_poison_is_kept_for_ever_for_nobody_and_says_what_it_was() -> None:
    original = request(b"body", **DELIVERED, **KEPT, attempt="3")
    frame = sent(encode_poison(original, "/queue/orders.poison", [("transaction", "t1")]))
    kept = {name: value for name, value in KEPT.items() if name != "expires"}
    assert frame.headers == {
        **kept,
        "destination": "/queue/orders.poison",
        "persistent": "true",
        "transaction": "t1",
        "attempt": "3",
        "correlation-id": "c1",
        "original_queue": "/queue/orders",
        "original_reply_to": "/remote-temp-queue/ID:1",
        "original_expires": "9",
    }


def redelivered(*headers: tuple[str, str]) -> RequestMessage:
    lines = "".join(f"\n{name}:{value}" for name, value in headers)
    return RequestMessage(Frame("MESSAGE", f"\ndestination:/queue/q\nmessage-id:ID:7{lines}", b"body"))


UNFIT = {
    "long once escaped": [("big", r"\c" * 4_700)],
    "a long name": [("n" * 9_217, "")],
    "a NUL": [("nul", "a\0b")],
    "a NUL in its name": [("n\0l", "x")],
    "too many": [(f"p{number}", "1") for number in range(1_000)],
}


@pytest.mark.parametrize("headers", UNFIT.values(), ids=UNFIT)
def test_what_the_broker_would_drop_the_connection_for_is_not_copied(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(MessageError, match="cannot be sent again"):
        encode_copy(redelivered(*headers), "/queue/q", 2, [("transaction", "t")])


@pytest.mark.parametrize("headers", UNFIT.values(), ids=UNFIT)
def test_poison_is_parked_without_what_cannot_be_sent_and_names_it(headers: list[tuple[str, str]]) -> None:
    data = encode_poison(redelivered(("good", "1"), *headers), "/queue/q.poison", [("transaction", "t")])
    frame = sent(data)
    lines = data.split(b"\n\n")[0].split(b"\n")
    assert (frame.get("good"), frame.body) == ("1", b"body")
    assert (max(map(len, lines)) < 10_240, len(lines) < 1_000) == (True, True)
    assert headers[-1][0].replace("\0", "")[:80] in (frame.get("left_out") or "")


@pytest.mark.parametrize("size", [9_215, 9_216, 9_217])
def test_a_line_of_nine_kib_is_the_longest_that_is_copied(size: int) -> None:
    message = redelivered(("big", "x" * (size - 3)))
    if size <= 9_216:
        assert len(sent(encode_copy(message, "/queue/q", 2, [("transaction", "t")])).get("big") or "") == size - 3
    else:
        with pytest.raises(MessageError, match="big"):
            encode_copy(message, "/queue/q", 2, [("transaction", "t")])


def test_a_message_whose_body_was_thrown_away_is_neither_copied_nor_parked() -> None:
    message = redelivered()
    message.frame.oversize = 20_000_000
    with pytest.raises(MessageError, match="20000000 bytes"):
        encode_copy(message, "/queue/q", 2, [("transaction", "t")])
    with pytest.raises(MessageError, match="20000000 bytes"):
        encode_poison(message, "/queue/q.poison", [("transaction", "t")])


def test_headers_that_cannot_be_read_cannot_be_copied() -> None:
    with pytest.raises(MessageError, match="undefined escape"):
        encode_copy(redelivered(("bad", "\\q")), "/queue/q", 2, [("transaction", "t")])


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
        _ = reply(http_status=status).status


def test_a_problem_needs_no_status() -> None:
    assert reply(http_status="abc", problem="worker-failed").problem == "worker-failed"


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
