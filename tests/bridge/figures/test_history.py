"""Steps of the last quarter of an hour: each holds what happened in it."""

from __future__ import annotations

import asyncio

import pytest

from bridge.figures import history
from bridge.figures.history import STEPS, History
from bridge.routing import ServedRoute
from bridge.settings import Route
from tests.bridge.callers import until


@pytest.fixture
async def world(monkeypatch):
    monkeypatch.setattr(history, "STEP", 0.01)
    routes = [ServedRoute(Route(name="words", path="/words", queue="words"))]
    made = History(lambda: routes)
    made.start()
    yield made, routes
    made.stop()


def total(steps, outcome, name="words"):
    return sum(step.routes[name].outcomes.get(outcome, 0) for step in steps if name in step.routes)


async def test_every_call_is_in_exactly_one_step(world):
    made, (route,) = world
    for number in range(50):
        route.counts.figures.ended("2xx" if number % 2 else "deadline", 0.02)
        await asyncio.sleep(0.001)
    steps = made.steps()
    assert len(steps) > 2
    assert (total(steps, "2xx"), total(steps, "deadline")) == (25, 25)
    assert sum(sum(step.routes["words"].took) for step in steps) == 50


async def test_the_step_that_is_not_over_is_told_too(world, monkeypatch):
    made, (route,) = world
    made.stop()
    route.counts.figures.ended("2xx", 0.02)
    assert made.steps()[-1].routes["words"].outcomes == {"2xx": 1}


async def test_what_was_before_the_start_is_in_no_step():
    route = ServedRoute(Route(name="words", path="/words", queue="words"))
    route.counts.figures.ended("2xx", 0.02)
    made = History(lambda: [route])
    made.start()
    assert made.steps()[-1].routes["words"].outcomes == {}
    made.stop()


async def test_a_route_may_come_and_go(world):
    made, routes = world
    routes.append(ServedRoute(Route(name="new", path="/new", queue="new")))
    routes[1].counts.figures.ended("2xx", 0.02)
    assert total(made.steps(), "2xx", "new") == 1
    del routes[0]
    await until(lambda: "words" not in made.steps()[-1].routes)


async def test_steps_are_bounded(world):
    made, _ = world
    await until(lambda: len(made.steps()) == STEPS + 1)
    await asyncio.sleep(0.03)
    assert len(made.steps()) == STEPS + 1


async def test_a_route_that_went_and_came_again_has_ended_no_negative_calls(world):
    made, routes = world
    routes[0].counts.figures.ended("2xx", 0.02)
    await until(lambda: total(made.steps()[:-1], "2xx") == 1)
    routes[0] = ServedRoute(Route(name="words", path="/words", queue="words"))
    routes[0].counts.figures.ended("2xx", 0.02)
    step = made.steps()[-1].routes["words"]
    assert (step.outcomes, sum(step.took)) == ({"2xx": 1}, 1)


async def test_those_who_may_not_call_are_counted_and_not_timed(world):
    made, (route,) = world
    route.counts.figures.ended("2xx", 0.02)
    for outcome in ("unauthenticated", "forbidden"):
        route.counts.figures.ended(outcome, 0.0001)
    steps = made.steps()
    assert [total(steps, outcome) for outcome in ("2xx", "unauthenticated", "forbidden")] == [1, 1, 1]
    assert sum(sum(step.routes["words"].took) for step in steps) == 1
