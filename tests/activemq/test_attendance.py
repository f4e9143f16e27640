"""Who listens, as Classic tells it: which consumers a name covers, the subscription, and the messages."""

from __future__ import annotations

import pytest

from activemq.brokers import Attendance
from activemq.brokers.classic import CLASSIC
from activemq.frames import encode
from activemq.parser import Parser

MAX_HEADER = 10 * 1024  # bytes of a header line that Classic takes


def advisory(destination: str, count: str | None = "1"):
    headers = [("destination", destination), ("message-id", "m"), ("subscription", "s")]
    if count is not None:
        headers.append(("consumerCount", count))
    (frame,) = Parser().feed(encode("MESSAGE", headers))
    return frame


@pytest.mark.parametrize(
    ("names", "name", "covered"),
    [
        (("orders",), "orders", True),
        (("orders",), "orders.new", False),
        (("orders.new",), "orders", False),
        (("orders.new", "other"), "other", True),
        (("orders.*",), "orders.new", True),
        (("orders.*",), "orders", False),
        (("orders.*",), "orders.new.eu", False),
        (("*.new",), "orders.new", True),
        (("*.new",), "orders.old", False),
        (("orders.>",), "orders.new.eu", True),
        (("orders.>",), "orders", True),  # more than needed is no harm: a call waits that could have been refused
        (("orders.>",), "invoices", False),
        ((">",), "anything.at.all", True),
        (("a", "orders.>"), "orders.new", True),
    ],
)
def test_a_consumer_covers_the_queues_that_it_reads(names, name, covered):
    assert Attendance(names, 1).covers(name) is covered


@pytest.mark.parametrize(
    ("names", "exact"),
    [(("a.b",), True), (("a", "b"), False), (("a.*",), False), (("a.>",), False), ((">",), False)],
)
def test_only_one_plain_name_is_exact(names, exact):
    assert Attendance(names, 1).exact is exact


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        ("/topic/ActiveMQ.Advisory.Consumer.Queue.orders.new", Attendance(("orders.new",), 1)),
        ("/topic/ActiveMQ.Advisory.Consumer.Queue.orders.>", Attendance(("orders.>",), 1)),
        ("/topic/ActiveMQ.Advisory.Consumer.Queue.a&sbquo;queue://b", Attendance(("a", "b"), 1)),
        ("/topic/ActiveMQ.Advisory.Consumer.Topic.bridge.presence", Attendance(("bridge.presence",), 1, True)),
    ],
)
def test_classic_tells_of_a_destination_by_the_name_of_a_topic(destination, expected):
    assert CLASSIC.attendance(advisory(destination)) == expected


@pytest.mark.parametrize("count", ["0", "1", "1000"])
def test_classic_tells_how_many_there_are(count):
    told = CLASSIC.attendance(advisory("/topic/ActiveMQ.Advisory.Consumer.Queue.q", count))
    assert told == Attendance(("q",), int(count))


@pytest.mark.parametrize(
    ("destination", "count"),
    [
        ("/topic/ActiveMQ.Advisory.Consumer.Queue.q", None),
        ("/topic/ActiveMQ.Advisory.Consumer.Queue.q", "many"),
        ("/topic/ActiveMQ.Advisory.Consumer.Queue.q", "-1"),
        ("/topic/ActiveMQ.Advisory.Consumer.Queue.q", "\u0661"),
        ("/topic/ActiveMQ.Advisory.Producer.Queue.q", "1"),
        ("/queue/q", "1"),
    ],
)
def test_what_tells_nothing_is_nothing(destination, count):
    assert CLASSIC.attendance(advisory(destination, count)) is None


@pytest.mark.parametrize("number", [1, 39, 40, 41, 200])
def test_no_header_of_the_subscription_is_too_long_for_classic(number):
    queues = [f"{at:03d}" + "q" * 125 for at in range(number)]
    subscriptions = CLASSIC.roll_call(queues, "bridge.presence")
    for headers in subscriptions:
        line = encode("SUBSCRIBE", [("selector", headers["selector"])]).split(b"\n")[1]
        assert len(line) < MAX_HEADER
    for queue in queues:
        assert sum(f"'topic://ActiveMQ.Advisory.Consumer.Queue.{queue}'" in s["selector"] for s in subscriptions) == 1


def test_patterns_and_the_beacon_are_told_once_however_many_queues_there_are():
    first, *others = CLASSIC.roll_call([f"q{at}" for at in range(100)], "bridge.presence")
    assert "Topic.bridge.presence'" in first["selector"]
    assert "LIKE" in first["selector"]
    assert others
    assert not any("LIKE" in other["selector"] or "Topic." in other["selector"] for other in others)


def test_without_queues_there_is_nothing_to_ask():
    assert list(CLASSIC.roll_call([], "bridge.presence")) == []
