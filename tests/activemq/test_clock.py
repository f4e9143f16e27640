"""The broker's time, from one echo."""

import time

import pytest

from activemq.clock import Clock


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> float:
    """Our clock stands still."""
    seconds = 1_700_000_000.0
    monkeypatch.setattr(time, "time", lambda: seconds)
    monkeypatch.setattr(time, "monotonic", lambda: 5_000.0)
    return seconds * 1_000


def test_before_an_echo_ours_is_taken_for_the_brokers(noon: float) -> None:
    clock = Clock()
    assert (clock.now_ms(), clock.measured, clock.error_ms) == (int(noon), False, 0.0)


@pytest.mark.parametrize("ahead", [0, 1, -1, 3_600_000, -3_600_000])
def test_the_stamp_is_taken_for_the_middle_of_the_round_trip(noon: float, ahead: int) -> None:
    clock = Clock()
    clock.measure(noon - 10, noon + 10, int(noon) + ahead)
    assert clock.measured
    assert clock.offset_ms == ahead
    assert clock.now_ms() == noon + ahead


@pytest.mark.parametrize("step", [3_600.0, -3_600.0, 0.25])
def test_a_clock_that_is_set_after_the_echo_moves_nothing(
    noon: float, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    clock = Clock()
    clock.measure(noon - 10, noon + 10, int(noon) + 700)
    monkeypatch.setattr(time, "time", lambda: noon / 1_000 + step)
    monkeypatch.setattr(time, "monotonic", lambda: 5_000.0 + 2.0)
    assert clock.now_ms() == noon + 700 + 2_000


def test_half_the_round_trip_is_how_wrong_it_can_be(noon: float) -> None:
    clock = Clock()
    clock.measure(noon, noon + 30, int(noon) + 15)
    assert (clock.offset_ms, clock.error_ms) == (0, 15)


def test_a_later_echo_replaces_the_earlier(noon: float) -> None:
    clock = Clock()
    clock.measure(noon, noon, int(noon) + 5_000)
    clock.measure(noon, noon + 2, int(noon) + 1)
    assert (clock.offset_ms, clock.error_ms) == (0, 1)
