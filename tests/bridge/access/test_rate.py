"""A rate: so many at once, then each after its share of the unit."""

from __future__ import annotations

import pytest

from bridge.access.rate import Rate


@pytest.mark.parametrize(("text", "count", "unit"), [("50/s", 50, 1.0), ("100/m", 100, 60.0), ("9/h", 9, 3_600.0)])
def test_all_of_a_rate_may_come_at_once_and_then_no_more(text, count, unit):
    rate = Rate(text)
    assert [rate.take(1_000.0) for _ in range(count)] == [0.0] * count
    assert rate.take(1_000.0) == pytest.approx(unit / count, rel=0.01)


@pytest.mark.parametrize("start", [0.0, 1.7e9])
def test_each_comes_back_after_its_share(start):
    rate = Rate("2/s")
    assert [rate.take(start), rate.take(start)] == [0.0, 0.0]
    assert rate.take(start + 0.49) > 0
    assert rate.take(start + 0.5) == 0.0
    assert rate.take(start + 0.5) > 0


def test_what_is_refused_costs_nothing():
    rate = Rate("1/m")
    rate.take(0.0)
    assert all(rate.take(59.0) > 0 for _ in range(100))
    assert rate.take(60.0) == 0.0


def test_rest_is_not_saved_up_beyond_the_count():
    rate = Rate("3/s")
    rate.take(0.0)
    assert [rate.take(1_000.0) for _ in range(4)].count(0.0) == 3


def test_over_a_long_time_it_is_the_rate():
    rate = Rate("10/s")
    taken = sum(rate.take(step / 100) == 0.0 for step in range(100 * 60))  # tried a hundred times in each second
    assert taken == pytest.approx(10 * 60 + 10, abs=1)
