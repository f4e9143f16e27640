"""RabbitMQ's profile; what it rests on is in tests/activemq/contract/test_rabbitmq_frames.py."""

import pytest

from activemq.brokers import profile_for
from activemq.brokers.rabbitmq import RABBITMQ
from activemq.frames import Frame, reason_of
from activemq.message import RequestEncoder, RequestMessage, encode_copy, encode_poison
from tests.activemq.harness import sent

MINE = RABBITMQ.on_connection("0123")


@pytest.mark.parametrize("server", ["RabbitMQ/3.10.8", "RabbitMQ/4.3.5"])
def test_it_is_recognised_by_its_name(server: str) -> None:
    assert profile_for("auto", server) is RABBITMQ
    assert not RABBITMQ.recognises("ActiveMQ/6.3.1")


def test_queues_are_declared_or_taken_as_they_are() -> None:
    theirs = MINE.without_declaring()
    assert (MINE.queue("orders"), theirs.queue("orders")) == ("/queue/orders", "/amq/queue/orders")
    for own in ("bridge.replies.s", "orders.poison"):  # nobody else would declare these
        assert theirs.queue(own) == MINE.queue(own) == f"/queue/{own}"
    assert theirs.consume("orders", 5) == {
        "destination": "/amq/queue/orders",
        "ack": "client-individual",
        "prefetch-count": "5",
    }


def test_replies_come_to_a_queue_of_the_connections_own_by_its_bare_name() -> None:
    headers = MINE.replies("r")
    assert headers["destination"] == f"/queue/{MINE.reply_to('r')}"
    assert (headers["exclusive"], headers["auto-delete"], headers["durable"]) == ("true", "true", "false")
    assert MINE.reply_to("r") == "bridge.reply.r.0123"
    assert MINE.echo_to("r") == "/reply-queue/bridge.reply.r.0123"
    assert MINE.durable_reply_to("bridge.replies.s") == "bridge.replies.s"


@pytest.mark.parametrize(("budget", "value"), [(30_000, "30000"), (0, "0"), (-1, "0")])
def test_expiry_is_the_time_to_live(budget: int, value: str) -> None:
    assert MINE.expiry(1_700_000_000_000, budget) == ("expiration", value)


def test_its_own_timestamp_is_in_seconds_and_not_taken() -> None:
    stamped = {"timestamp": "1700000000", "timestamp_in_ms": "1700000000123"}
    assert MINE.stamp(Frame.of("MESSAGE", stamped)) == 1_700_000_000_123
    assert MINE.stamp(Frame.of("MESSAGE", {"timestamp": "1700000000"})) is None


def test_the_media_type_is_amqps_own_too() -> None:
    encoder = RequestEncoder(
        destination="/queue/q", reply_to="r", route="q", media_type_header=RABBITMQ.media_type_header
    )
    rest = ("c", ("expiration", "1"), 1, 1, 4)
    frame = sent(encoder.encode(*rest, iter([("content_type", "text/html"), ("a", "b")]), b"x", text=False))
    assert (frame.get("content-type"), frame.get("content_type"), frame.get("a")) == ("text/html", "text/html", "b")
    frame = sent(encoder.encode(*rest, [("a", "b")], b"x", text=False))
    assert frame.get("content-type") is None


def request(**headers: str) -> RequestMessage:
    named = {name.replace("__", "-"): value for name, value in headers.items()}
    return RequestMessage(Frame.of("MESSAGE", {"correlation-id": "c", "message-id": "T_w@@s@@1", **named}, b"x"))


def test_a_copy_holds_no_orders() -> None:
    came = request(user__id="somebody", durable="false", x__max__priority="abc", own="kept", persistent="1")
    copy = sent(encode_copy(came, "/queue/q", 2, [], resent=RABBITMQ.resent)).headers
    assert copy == {"destination": "/queue/q", "attempt": "2", "correlation-id": "c", "own": "kept"} | {
        name: value for name, value in copy.items() if name == "content-length"
    }


@pytest.mark.parametrize(
    ("came", "goes"),
    [
        ("/reply-queue/amq.gen-x", "amq.gen-x"),
        ("/reply-queue/amq.rabbitmq.reply-to.a/b==", "/reply-queue/amq.rabbitmq.reply-to.a/b=="),
        ("/queue/elsewhere", "/queue/elsewhere"),
        ("/topic/elsewhere", "/topic/elsewhere"),
    ],
)
def test_a_copy_can_be_replied_to_by_amqp_programs_too(came: str, goes: str) -> None:
    copy = sent(encode_copy(request(reply__to=came), "/queue/q", 2, [], resent=RABBITMQ.resent))
    assert copy.get("reply-to") == goes


def test_persistence_survives_a_copy() -> None:
    copy = sent(encode_copy(request(persistent="true"), "/queue/q", 2, [], resent=RABBITMQ.resent))
    assert copy.get("persistent") == "true"


def test_what_is_parked_does_not_expire() -> None:
    parked = sent(encode_poison(request(expiration="5000"), "/queue/q.poison", [], resent=RABBITMQ.resent))
    assert (parked.get("expiration"), parked.get("persistent")) == (None, "true")


def test_a_message_of_amqp_is_answered_to_its_own_id() -> None:
    named = Frame.of("MESSAGE", {"message-id": "T_w@@s@@1", "amqp-message-id": "mine"})
    assert RequestMessage(named).correlation_id == "mine"


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        (
            {"message": "access_refused", "version": "1.2"},
            b"ACCESS_REFUSED - no\nmore",
            "access_refused: ACCESS_REFUSED - no",
        ),
        ({"message": "Bad CONNECT", "version": "1.2"}, b"", "Bad CONNECT"),
        ({"message": "User is not authorized"}, b"java.lang.SecurityException: x\n\tat y", "User is not authorized"),
        ({}, b"", "no reason given"),
        ({"message": "m", "version": "1.2"}, b"\n", "m: "),
        ({"message": "m", "version": "1.2"}, b"x" * 1_000, "m: " + "x" * 300),
    ],
)
def test_the_reason_of_an_error(headers: dict[str, str], body: bytes, reason: str) -> None:
    assert reason_of(Frame.of("ERROR", headers, body)) == reason
