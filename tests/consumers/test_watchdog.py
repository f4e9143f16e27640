"""What has hung: by counted looks, not by a clock."""

from __future__ import annotations

import pytest

from activemq.frames import Frame
from activemq.message import RequestMessage
from consumers.watchdog import Patience, Watchdog


def message(call="c1"):
    return RequestMessage(Frame.of("MESSAGE", {"correlation-id": call}))


def watchdog(grace=10.0, longest=None):
    return Watchdog(Patience(grace, longest), lambda: None)


def looks(dog, number, passed=1.0):
    """Look so often, while the loop turns; return what was said."""
    said = []
    for _ in range(number):
        dog.turned()
        said.append(dog.look(passed))
    return said


@pytest.mark.parametrize(
    ("budget", "longest", "looks_until_hung"),
    [(5.0, None, 15), (5.0, 60.0, 15), (60.0, 5.0, 15), (None, 5.0, 15), (0.0, None, 10)],
)
def test_a_handler_has_its_budget_or_its_longest_time_and_the_grace(budget, longest, looks_until_hung):
    dog = watchdog(longest=longest)
    dog.begin(message(), budget)
    said = looks(dog, looks_until_hung)
    assert said[:-1] == [None] * (looks_until_hung - 1)
    assert "call c1" in said[-1]


def test_a_handler_without_a_budget_is_never_hung():
    dog = watchdog()
    dog.begin(message(), None)
    assert looks(dog, 10_000) == [None] * 10_000


def test_a_handler_that_has_ended_is_forgotten():
    dog = watchdog()
    watched = dog.begin(message(), 1.0)
    assert looks(dog, 10) == [None] * 10
    dog.end(watched)
    dog.end(watched)
    assert looks(dog, 100) == [None] * 100


def test_two_handlers_of_one_call_are_two():
    dog = watchdog()
    first = dog.begin(message(), 5.0)
    looks(dog, 3)
    dog.begin(message(), 5.0)
    dog.end(first)
    assert looks(dog, 14) == [None] * 14
    assert looks(dog, 1) != [None]


def test_a_loop_that_does_not_turn_for_the_grace_hangs():
    dog = watchdog()
    assert dog.look(1.0) is None  # the first look asks it to turn
    assert [dog.look(1.0) for _ in range(9)] == [None] * 9
    assert "blocks" in dog.look(1.0)


def test_a_loop_that_turns_once_in_a_while_does_not_hang():
    dog = watchdog()
    for _ in range(20):
        dog.turned()
        assert [dog.look(1.0) for _ in range(9)] == [None] * 9


def test_a_process_that_was_stopped_for_an_hour_has_not_hung():
    """It is its looks that count: none was made meanwhile."""
    dog = watchdog()
    dog.begin(message(), 5.0)
    assert looks(dog, 14) == [None] * 14
