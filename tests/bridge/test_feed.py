"""The word for how a route is doing: what makes it `failing`, and what does not."""

from __future__ import annotations

import pytest

from bridge.dashboard.feed import feed_of
from bridge.figures import BOUNDS, RouteFigures
from bridge.figures.history import RouteStep, Step
from bridge.figures.snapshot import RouteNow, Snapshot
from bridge.presence import Queue


def state(**outcomes):
    """Return the state and the advice for a route with a worker and these ends of calls in the last step."""
    queue = Queue("words")
    queue.listeners = 1
    route = RouteNow("words", "words", RouteFigures(), 0, 10, 0.0, 30.0)
    took = (0,) * (len(BOUNDS) + 1)
    ends = {name.replace("_", "-").removeprefix("s"): number for name, number in outcomes.items()}
    step = Step(10.0, 10.0, {"words": RouteStep(ends, took, 0, 0, 1)})
    (shown,) = feed_of(snapshot([route], [queue]), [step])["routes"]
    return shown["state"], shown["advice"]


def snapshot(routes, queues):
    known = {"routes": routes, "queues": queues, "unrouted": RouteFigures(), "callers": []}
    return Snapshot(**{name: known.get(name, 0) for name in Snapshot.__dataclass_fields__})


@pytest.mark.parametrize(("bad", "is_failing"), [(1, False), (2, False), (3, True)])
def test_more_than_two_calls_of_a_hundred_that_end_badly_are_failing(bad, is_failing):
    found, advice = state(s2xx=100 - bad, deadline=bad)
    assert (found == "failing", "deadline" in advice) == (is_failing, is_failing)


@pytest.mark.parametrize("outcome", ["unauthenticated", "forbidden"])
def test_those_who_may_not_call_make_no_route_failing(outcome):
    assert state(s2xx=10, **{outcome: 1_000})[0] == "fine"
    assert state(**{outcome: 1_000})[0] == "fine"


@pytest.mark.parametrize("outcome", ["unauthenticated", "forbidden"])
def test_those_who_may_not_call_do_not_hide_that_it_is(outcome):
    assert state(s2xx=90, deadline=10, **{outcome: 10_000})[0] == "failing"
