"""What ActiveMQ Artemis is told and how its words are read."""

from __future__ import annotations

import json

import pytest

from activemq.brokers import Attendance
from activemq.brokers.artemis import ARTEMIS
from activemq.frames import Frame

TOKEN = "0123456789abcdef" * 2
BEACON = "bridge.presence"
HERE = ARTEMIS.on_connection(TOKEN)
ELSEWHERE = ARTEMIS.on_connection(TOKEN[::-1])


def answer(asked: str, result: object, *, succeeded: str = "true") -> Frame:
    headers = {"correlation-id": asked, "_AMQ_OperationSucceeded": succeeded}
    return Frame.of("MESSAGE", headers, json.dumps([json.dumps(result)]).encode())


def event(address: str, count: str) -> Frame:
    return Frame.of("MESSAGE", {"_AMQ_Address": address, "_AMQ_ConsumerCount": count})


def asked(*queues: str) -> list[str]:
    return [question.headers["correlation-id"] for question in HERE.questions(queues, BEACON, "there")]


def test_destinations_have_the_prefixes_of_the_acceptor() -> None:
    assert (ARTEMIS.queue("orders"), ARTEMIS.topic("bridge.cancel")) == ("/queue/orders", "/topic/bridge.cancel")


def test_a_reply_destination_belongs_to_one_connection() -> None:
    assert HERE.reply_to("r") == f"bridge.reply.r.{TOKEN}"
    assert HERE.replies("r")["destination"] == f"/topic/{HERE.reply_to('r')}"
    assert ELSEWHERE.reply_to("r") != HERE.reply_to("r")
    assert ELSEWHERE.echo_to("r") != HERE.echo_to("r") == HERE.echo("r")["destination"]


def test_a_durable_reply_destination_is_named_as_jms_clients_name_a_queue() -> None:
    assert ARTEMIS.durable_reply_to("bridge.replies.1") == "queue://bridge.replies.1"


def test_a_slot_has_a_window_of_one_byte_which_is_one_message() -> None:
    assert ARTEMIS.consume("orders")["consumer-window-size"] == "1"
    assert int(ARTEMIS.consume("bridge.replies.1", 64)["consumer-window-size"]) > 1


def test_the_absolute_deadline_is_told() -> None:
    assert ARTEMIS.expiry(1_700_000_000_000, 30_000) == ("expires", "1700000000000")


@pytest.mark.parametrize(("stamp", "expected"), [("17", 17), ("0", 0), ("", None), ("-1", None), ("x", None)])
def test_the_brokers_stamp(stamp: str, expected: int | None) -> None:
    assert ARTEMIS.stamp(Frame.of("MESSAGE", {"timestamp": stamp})) == expected


def test_a_copy_of_one_message_has_one_name_whoever_makes_it() -> None:
    def once(consumer: int, number: int, what: str) -> object:
        return ARTEMIS.once(Frame.of("MESSAGE", {"message-id": f"{consumer},{number}", "correlation-id": "c"}), what)

    assert once(1, 77, "2") == once(9, 77, "2") == [("_AMQ_DUPL_ID", "c-77-2")]
    assert len({str(once(1, number, what)) for number in (77, 78) for what in ("2", "3", "poison")}) == 6


def test_a_message_of_others_has_a_name_too() -> None:
    ((_, name),) = ARTEMIS.once(Frame.of("MESSAGE", {"message-id": "1,2", "correlation-id": "x" * 5_000}), "2")
    assert len(name) <= 1_000
    assert ARTEMIS.once(Frame.of("MESSAGE", {}), "2") == [("_AMQ_DUPL_ID", "--2")]


# -- who listens


def test_each_queue_is_asked_for_and_what_makes_the_answers_worth_something_first() -> None:
    assert asked("a", "b") == [
        *("one-broker bridge.presence", "no-patterns bridge.presence", "no-patterns bridge.presence"),
        *("who-listens a", "who-listens b"),
    ]
    assert {question.headers["reply-to"] for question in HERE.questions(["a"], BEACON, "there")} == {"there"}


@pytest.mark.parametrize("count", [0, 1, 1_000])
def test_the_answer_about_a_queue_is_certain(count: int) -> None:
    told = ARTEMIS.attendance(answer("who-listens a", {"data": [], "count": count}))
    assert told == Attendance(("a",), count, certain=True)


@pytest.mark.parametrize(
    ("question", "result", "listeners"),
    [
        ("one-broker", [], 1),
        ("one-broker", [{"nodeID": "1", "live": "a:1", "backup": "b:1"}], 1),
        ("one-broker", [{"nodeID": "1"}, {"nodeID": "2"}], 0),  # a cluster
        ("no-patterns", {"data": [], "count": 0}, 1),
        ("no-patterns", {"data": [{"address": "a.*"}], "count": 1}, 0),
    ],
)
def test_whether_the_answers_are_worth_anything(question: str, result: object, listeners: int) -> None:
    told = ARTEMIS.attendance(answer(f"{question} {BEACON}", result))
    assert told == Attendance((BEACON,), listeners, is_topic=True, certain=True)


@pytest.mark.parametrize(
    "frame",
    [
        answer("who-listens a", {"count": 1}, succeeded="false"),
        answer("who-listens a", {"data": []}),
        answer("who-listens a", {"count": "1"}),
        answer("who-listens a", "text"),
        answer("else a", {"count": 1}),
        Frame.of("MESSAGE", {"correlation-id": "who-listens a", "_AMQ_OperationSucceeded": "true"}, b"[1, 2]"),
        Frame.of("MESSAGE", {"correlation-id": "who-listens a", "_AMQ_OperationSucceeded": "true"}, b"\xff{"),
        Frame.of("MESSAGE", {"correlation-id": "who-listens a", "_AMQ_OperationSucceeded": "true"}, b"[3]"),
        Frame.of("MESSAGE", {"correlation-id": "7"}),
    ],
)
def test_what_is_no_answer_says_nothing(frame: Frame) -> None:
    assert ARTEMIS.attendance(frame) is None


def test_the_word_that_somebody_came_or_went() -> None:
    assert ARTEMIS.attendance(event("a", "2")) == Attendance(("a",), 2)
    assert ARTEMIS.attendance(event("a", "0")) == Attendance(("a",), 0)


def test_the_word_about_a_pattern_covers_what_it_reads() -> None:
    told = ARTEMIS.attendance(event("orders.#", "1"))
    assert told is not None
    assert (told.exact, told.covers("orders.new.eu"), told.covers("invoices")) == (False, True, False)
