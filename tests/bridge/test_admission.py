"""Whether another call is taken."""

from __future__ import annotations

import asyncio

import pytest

from bridge.access import ANYBODY
from bridge.admission import Admission
from bridge.problems import Problem
from bridge.routing import ServedRoute
from bridge.settings import Route


def a_route(max_held=10):
    return ServedRoute(Route(name="r", path="/r", queue="r", max_held=max_held))


def refusal(action, *arguments):
    with pytest.raises(Problem) as caught:
        action(*arguments)
    ((name, seconds),) = caught.value.headers
    assert name == b"retry-after"
    assert 1 <= int(seconds) <= 60
    return caught.value.name


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_a_route_takes_its_limit_and_no_more(limit):
    admission, route, other = Admission(100, 100), a_route(limit), a_route()
    for _ in range(limit):
        admission.enter(route, ANYBODY, 0.0)
    assert refusal(admission.enter, route, ANYBODY, 0.0) == "route-full"
    admission.enter(other, ANYBODY, 0.0)
    admission.leave(route, ANYBODY)
    admission.enter(route, ANYBODY, 0.0)
    assert (admission.held, route.counts.held, other.counts.held) == (limit + 1, limit, 1)


def test_the_bridge_takes_its_limit_over_all_routes():
    admission, first, second = Admission(2, 100), a_route(), a_route()
    admission.enter(first, ANYBODY, 0.0)
    admission.enter(second, ANYBODY, 0.0)
    assert refusal(admission.enter, first, ANYBODY, 0.0) == "bridge-full"
    assert (admission.held, first.counts.held, second.counts.held) == (2, 1, 1)
    admission.leave(second, ANYBODY)
    admission.enter(first, ANYBODY, 0.0)


def test_a_bridge_that_is_full_and_drains_says_that_it_drains():
    admission, route = Admission(1, 100), a_route(1)
    admission.enter(route, ANYBODY, 0.0)
    assert refusal(admission.enter, route, ANYBODY, 0.0) == "bridge-full"
    admission.draining = True
    assert refusal(admission.enter, route, ANYBODY, 0.0) == "draining"


@pytest.mark.parametrize(("size", "fits"), [(99, True), (100, True), (101, False)])
def test_memory_for_bodies_has_a_limit(size, fits):
    admission = Admission(1, 100)
    if fits:
        admission.reserve(size)
        assert admission.memory == size
        admission.release(size)
    else:
        assert refusal(admission.reserve, size) == "bridge-full"
    assert admission.memory == 0


def test_memory_is_shared_and_comes_back():
    admission = Admission(1, 100)
    admission.reserve(60)
    assert refusal(admission.reserve, 41) == "bridge-full"
    admission.reserve(40)
    admission.release(60)
    admission.reserve(60)
    assert admission.memory == 100


async def test_draining_with_nothing_held_is_over_at_once():
    admission = Admission(1, 100)
    assert await admission.drain(60) == 0
    assert refusal(admission.enter, a_route(), ANYBODY, 0.0) == "draining"


async def test_draining_waits_for_the_last_call():
    admission, route = Admission(10, 100), a_route()
    admission.enter(route, ANYBODY, 0.0)
    admission.enter(route, ANYBODY, 0.0)
    draining = asyncio.create_task(admission.drain(60))
    await asyncio.sleep(0)
    admission.leave(route, ANYBODY)
    await asyncio.sleep(0)
    assert not draining.done()
    admission.leave(route, ANYBODY)
    assert await draining == 0


async def test_draining_gives_up_in_time_and_says_how_many_are_still_held():
    admission, route = Admission(10, 100), a_route()
    admission.enter(route, ANYBODY, 0.0)
    admission.enter(route, ANYBODY, 0.0)
    assert await admission.drain(0.01) == 2
