"""What differs between brokers, and how one is recognised."""

import pytest

from activemq import Frame
from activemq.brokers import PROFILES, Epitaph, Profile, profile_for
from activemq.brokers.artemis import ARTEMIS
from activemq.brokers.classic import CLASSIC
from activemq.errors import ConnectFailedError


@pytest.mark.parametrize("server", ["ActiveMQ/6.3.1", "ActiveMQ/5.19.11"])
def test_classic_is_recognised_by_its_name(server: str) -> None:
    assert profile_for("auto", server) is CLASSIC


@pytest.mark.parametrize("server", ["ActiveMQ-Artemis/2.57.0 ActiveMQ Artemis Messaging Engine"])
def test_artemis_is_recognised_by_its_name(server: str) -> None:
    assert profile_for("auto", server) is ARTEMIS


@pytest.mark.parametrize("server", ["SomeShop/4.3.5", ""])
def test_a_broker_that_is_not_known_is_refused_by_name(server: str) -> None:
    with pytest.raises(ConnectFailedError, match="no profile for") as refused:
        profile_for("auto", server)
    assert (server or "does not say its name") in str(refused.value)
    assert "classic" in str(refused.value)


def test_the_setting_wins_over_the_name() -> None:
    assert profile_for("classic", "SomeShop/1") is CLASSIC


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ConnectFailedError, match="no profile for openmq in this version; it knows: "):
        profile_for("openmq", "ActiveMQ/6.3.1")


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_each_profile_is_found_by_its_kind(profile: Profile) -> None:
    assert profile_for(profile.kind, "") is profile


def test_classic_names_queues_topics_and_temporary_queues() -> None:
    assert CLASSIC.queue("orders") == "/queue/orders"
    assert CLASSIC.topic("bridge.cancel") == "/topic/bridge.cancel"
    assert CLASSIC.reply_to("replies") == "/temp-queue/replies"
    assert CLASSIC.replies("replies")["destination"] == CLASSIC.reply_to("replies")


@pytest.mark.parametrize(
    ("profile", "reason", "full"),
    [
        (CLASSIC, "Usage Manager Memory Limit reached. Stopping producer (ID:1)", True),
        (CLASSIC, "Persistent store is Full, 100% of 25165824. Stopping producer (ID:1)", True),
        (CLASSIC, "Usage Manager Temp Store is Full (100% of 8388608). Stopping producer (ID:1)", True),
        (CLASSIC, "temp-queue://ID:1-1:2:1", False),
        (CLASSIC, "User worker is not authorized to write to: queue://bridge.replies.1", False),
        (PROFILES["artemis"], 'AMQ229102: Address "bridge.replies.1" is full. Message encode size = 5', True),
        (PROFILES["artemis"], "AMQ229032: User: worker does not have permission='SEND'", False),
        (PROFILES["rabbitmq"], "access_refused", False),
    ],
)
def test_a_refusal_for_want_of_room_is_told_from_others(profile: Profile, reason: str, full: bool) -> None:
    assert profile.is_full(reason) is full


def test_classic_gives_a_slot_one_message_at_a_time() -> None:
    assert CLASSIC.consume("orders") == {
        "destination": "/queue/orders",
        "ack": "client-individual",
        "activemq.prefetchSize": "1",
    }


def test_classic_takes_the_absolute_deadline() -> None:
    assert CLASSIC.expiry(1_700_000_000_000, 30_000) == ("expires", "1700000000000")


# -- dead letters


def test_each_queue_has_its_dead_letters_and_all_have_the_brokers_own():
    assert CLASSIC.dead_letters(["a", "b", "a"]) == ["DLQ.a", "DLQ.b", "ActiveMQ.DLQ"]
    assert CLASSIC.dead_letters([]) == ["ActiveMQ.DLQ"]


@pytest.mark.parametrize(
    ("name", "dead"),
    [("ActiveMQ.DLQ", True), ("DLQ.a", True), ("DLQ.", False), ("DLQ", False), ("a.DLQ.b", False), ("dlq.a", False)],
)
def test_only_the_names_that_the_configurations_give_are_dead_letters(name, dead):
    assert CLASSIC.is_dead_letters(name) is dead


def test_a_look_is_a_browse_and_of_one_message_with_a_selector():
    assert CLASSIC.look("q", 7) == {
        "destination": "/queue/q", "ack": "client-individual", "activemq.prefetchSize": "7", "browser": "true",
    }  # fmt: skip
    assert CLASSIC.look("q", 1, "ID:it's")["selector"] == "JMSMessageID = 'ID:it''s'"
    assert CLASSIC.pick("q", "x' OR 'a'='a")["selector"] == "JMSMessageID = 'x'' OR ''a''=''a'"
    assert "browser" not in CLASSIC.pick("q", "x")


@pytest.mark.parametrize(
    ("headers", "queue", "reason"),
    [
        ({}, None, None),
        ({"original-destination": "/queue/a.b", "dlqDeliveryFailureCause": "x: y"}, "a.b", "x: y"),
        ({"original-destination": "/topic/a"}, None, None),
        ({"original-destination": "/queue/"}, None, None),
        ({"original-destination": "a"}, None, None),
    ],
)
def test_an_epitaph_is_what_the_broker_wrote(headers, queue, reason):
    assert CLASSIC.epitaph(Frame.of("MESSAGE", headers)) == Epitaph(queue, reason)


@pytest.mark.parametrize(
    ("headers", "end"),
    [
        ({"browser": "end", "message-id": "0"}, True),
        ({"browser": "end", "message-id": "ID:1"}, False),
        ({"message-id": "0"}, False),
        ({"browser": "end"}, False),
        ({"browser": "ends", "message-id": "0"}, False),
    ],
)
def test_only_the_brokers_own_word_ends_a_look(headers, end):
    assert CLASSIC.looked(Frame.of("MESSAGE", headers)) is end
