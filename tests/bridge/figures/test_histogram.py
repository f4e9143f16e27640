"""Durations between bounds, and what can be told from them."""

from __future__ import annotations

import random

import pytest

from bridge.figures.histogram import BOUNDS, Histogram, percentile


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_bound_belongs_to_what_is_below_it(bound):
    histogram = Histogram()
    place = BOUNDS.index(bound)
    assert [histogram.note(bound), histogram.note(bound * 1.001)] == [place, place + 1]
    assert (histogram.total, histogram.sum) == (2, pytest.approx(bound * 2.001))


def test_bounds_rise():
    assert list(BOUNDS) == sorted(set(BOUNDS))


def test_of_nothing_there_is_no_percentile():
    assert percentile(Histogram().counts, 0.5) is None


def test_what_is_longer_than_all_bounds_is_told_as_the_last():
    histogram = Histogram()
    histogram.note(1e6)
    assert percentile(histogram.counts, 0.99) == BOUNDS[-1]


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_a_percentile_lies_between_the_bounds_of_the_true_one(share):
    chance = random.Random(share)
    values = sorted(chance.expovariate(5) for _ in range(2_000))
    histogram = Histogram()
    for value in values:
        histogram.note(value)
    true = values[int(share * len(values)) - 1]
    upper = next(bound for bound in BOUNDS if bound >= true)
    lower = max((bound for bound in BOUNDS if bound < true), default=0.0)
    found = percentile(histogram.counts, share)
    assert found is not None
    assert lower <= found <= upper
