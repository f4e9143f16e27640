"""What UNSUBSCRIBE leaves behind on RabbitMQ, and the frames that give it to others."""

import pytest

from activemq.brokers.rabbitmq import RABBITMQ
from activemq.frames import CLIENT_COMMANDS, Frame
from activemq.leftovers import Leftovers
from activemq.parser import Parser


def message(subscription: str, number: int, *, acknowledged: bool = True) -> Frame:
    name = f"T_{subscription}@@session-x@@{number}"
    headers = {"subscription": subscription, "message-id": name}
    return Frame.of("MESSAGE", headers | ({"ack": name} if acknowledged else {}))


def stranded(subscription: str) -> Frame:
    body = f"There is no current subscription with tag 'T_{subscription}'."
    return Frame.of("ERROR", {"message": "Subscription not found"}, body.encode())


def handed_back(data: bytes) -> list[str]:
    """The deliveries that are given to others, each within a subscription of its own id that ends again."""
    frames = Parser(commands=CLIENT_COMMANDS).feed(data)
    first, *nacks, last = frames
    assert (first.command, last.command, first.get("id")) == ("SUBSCRIBE", "UNSUBSCRIBE", last.get("id"))
    assert first.get("destination") == "/topic/bridge.nothing"
    assert {(frame.command, frame.get("requeue")) for frame in nacks} == {("NACK", "true")}
    assert all(frame.get("id").startswith(f"T_{first.get('id')}@@") for frame in nacks)
    return [frame.get("id").rpartition("@@")[2] for frame in nacks]


@pytest.fixture
def leftovers() -> Leftovers:
    return Leftovers(RABBITMQ)


def test_nothing_is_left_of_what_was_acknowledged(leftovers: Leftovers) -> None:
    leftovers.took(message("a", 1))
    leftovers.acknowledged(message("a", 1))
    assert leftovers.ended("a") == b""


def test_what_is_unacknowledged_is_handed_back_and_that_of_others_is_not(leftovers: Leftovers) -> None:
    for number, subscription in enumerate(["a", "b", "a", "a"], 1):
        assert leftovers.took(message(subscription, number)) == b""
    leftovers.acknowledged(message("a", 3))
    assert handed_back(leftovers.ended("a")) == ["1", "4"]
    assert handed_back(leftovers.ended("b")) == ["2"]
    assert leftovers.ended("a") == b""


def test_what_needs_no_acknowledgement_is_not_handed_back(leftovers: Leftovers) -> None:
    leftovers.took(message("a", 1, acknowledged=False))
    assert leftovers.ended("a") == b""


def test_a_message_that_came_too_late_is_known_by_the_number_of_the_one_before(leftovers: Leftovers) -> None:
    leftovers.took(message("b", 7, acknowledged=False))
    leftovers.ended("a")
    assert handed_back(leftovers.took(stranded("a"))) == ["8"]
    assert handed_back(leftovers.took(stranded("a"))) == ["9"]  # it counts too
    leftovers.took(message("b", 10))
    assert handed_back(leftovers.took(stranded("c"))) == ["11"]


def test_one_that_slips_into_the_subscription_that_hands_back_is_handed_back_too(leftovers: Leftovers) -> None:
    leftovers.ended("a")
    assert handed_back(leftovers.took(message("a", 3))) == ["3"]


def test_a_subscription_that_begins_again_takes_messages_again(leftovers: Leftovers) -> None:
    leftovers.ended("a")
    leftovers.begun("a")
    assert leftovers.took(message("a", 3)) == b""


@pytest.mark.parametrize(
    "error",
    [
        Frame.of("ERROR", {"message": "access_refused"}, b"ACCESS_REFUSED - access to queue 'x'"),
        Frame.of("ERROR", {"message": "Subscription not found"}),
        Frame.of("ERROR", {"message": "x"}, b"not at the start: There is no current subscription with tag 'T_a'."),
    ],
)
def test_other_errors_are_not_messages(leftovers: Leftovers, error: Frame) -> None:
    leftovers.took(message("a", 1))
    assert leftovers.took(error) == b""


def test_before_the_first_message_nothing_can_be_named(leftovers: Leftovers) -> None:
    assert leftovers.took(stranded("a")) == b""
