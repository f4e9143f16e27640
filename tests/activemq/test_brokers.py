"""What differs between brokers, and how one is recognised."""

import pytest

from activemq.brokers import PROFILES, Profile, profile_for
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


def test_classic_gives_a_slot_one_message_at_a_time() -> None:
    assert CLASSIC.consume("orders") == {
        "destination": "/queue/orders",
        "ack": "client-individual",
        "activemq.prefetchSize": "1",
    }


def test_classic_takes_the_absolute_deadline() -> None:
    assert CLASSIC.expiry(1_700_000_000_000, 30_000) == ("expires", "1700000000000")
