"""The measured rate, and `Retry-After`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.backlog import LATEST, SOONEST, WINDOW, Pace, retry_after, time_to_drain


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pace(clock):
    return Pace(clock)


def test_no_answers_are_no_rate(pace):
    assert (pace.rate(), pace.total) == (0.0, 0)


def test_answers_of_the_first_second_count_as_one_second(pace):
    for _ in range(5):
        pace.note()
    assert (pace.rate(), pace.total) == (5.0, 5)


def test_a_steady_rate_is_measured(pace, clock):
    for _ in range(200):
        pace.note()
        clock.now += 0.1
    assert pace.rate() == pytest.approx(10.0, rel=0.06)


def test_a_pause_lowers_the_rate_and_ends_it_after_the_window(pace, clock):
    for _ in range(30):
        pace.note()
    clock.now += 10
    assert pace.rate() == 3.0
    clock.now = 1_000.0 + WINDOW - 0.5
    assert pace.rate() > 0
    clock.now = 1_000.0 + WINDOW
    assert (pace.rate(), pace.total) == (0.0, 30)


def test_nothing_older_than_the_window_is_kept(pace, clock):
    for _ in range(10 * WINDOW):
        pace.note()
        clock.now += 1
    assert len(pace._seconds) <= WINDOW


@given(st.floats(allow_nan=False), st.floats(0, 1))
def test_retry_after_is_whole_seconds_within_its_bounds(seconds, at):
    value = retry_after(seconds, lambda low, high: low + (high - low) * at)
    assert isinstance(value, int)
    assert SOONEST <= value <= LATEST


@pytest.mark.parametrize(
    ("seconds", "least", "most"), [(0.0, 1, 2), (1.0, 1, 2), (10.0, 10, 16), (40.0, 40, 60), (3_600.0, 40, 60)]
)
def test_retry_after_is_spread_over_half_as_much_again(seconds, least, most):
    assert retry_after(seconds, lambda low, _: low) == least
    assert retry_after(seconds, lambda _, high: high) == most


def test_those_refused_together_do_not_all_come_back_together():
    assert len({retry_after(20.0) for _ in range(200)}) > 5


@pytest.mark.parametrize(
    ("waiting", "rate", "seconds"), [(0, 5.0, 0.0), (100, 50.0, 2.0), (100, 0.0, 7.0), (0, 0.0, 7.0)]
)
def test_what_waits_takes_as_long_as_its_rate_says(waiting, rate, seconds):
    assert time_to_drain(waiting, rate, 7.0) == seconds
