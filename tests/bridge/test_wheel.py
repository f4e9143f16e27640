"""The clock of all deadlines: never early, at most a tick late, nothing lost and nothing kept."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.wheel import TICK, Wheel
from tests.bridge.callers import until


class Thing:
    """Notes when it was told that it is due."""

    def __init__(self, on_due=None):
        self.slot = 0
        self.told = []
        self._on_due = on_due

    def due(self, now):
        self.told.append(now)
        if self._on_due is not None:
            self._on_due(now)


def turned(wheel, start, end, step=TICK):
    """Let the wheel turn from ``start`` to ``end``, as its timer does."""
    now = start
    while now < end:
        wheel.advance(now)
        now += step


@pytest.fixture
def wheel():
    wheel = Wheel()
    wheel.advance(1_000.0)
    return wheel


def test_a_thing_is_told_once_not_before_its_time_and_at_most_a_tick_after(wheel):
    thing = Thing()
    wheel.put(1_000.123, thing)
    turned(wheel, 1_000.0, 1_002.0)
    assert len(thing.told) == 1
    assert 1_000.123 <= thing.told[0] <= 1_000.123 + 2 * TICK  # one tick for the bucket, one for the turn


@given(
    delays=st.lists(st.floats(0, 3), min_size=1, max_size=30),
    steps=st.lists(st.floats(0.001, 1.5), min_size=1, max_size=40),
)
def test_whatever_the_turns_nothing_is_early_lost_or_told_twice(delays, steps):
    wheel = Wheel()
    wheel.advance(500.0)
    things = {500.0 + delay: Thing() for delay in delays}
    for when, thing in things.items():
        wheel.put(when, thing)
    now = 500.0
    for step in steps:
        before, now = now, now + step
        wheel.advance(now)
        for when, thing in things.items():
            assert all(told >= when for told in thing.told)
            assert thing.told or when > now - TICK, f"{when} was missed between {before} and {now}"
    wheel.advance(600.0)
    assert [len(thing.told) for thing in things.values()] == [1] * len(things)
    assert len(wheel) == 0


def test_a_time_that_is_over_already_is_told_at_the_next_turn_however_much_else_there_is(wheel):
    others = [Thing() for _ in range(100)]
    for number, other in enumerate(others):
        wheel.put(1_010.0 + number, other)
    late = Thing()
    wheel.put(990.0, late)
    wheel.advance(1_000.06)
    assert late.told == [1_000.06]
    assert not any(other.told for other in others)


def test_a_thing_may_put_itself_on_again_and_waits_for_the_next_turn(wheel):
    thing = Thing(lambda now: wheel.put(now, thing) if len(thing.told) < 3 else None)
    wheel.put(1_000.01, thing)
    wheel.advance(1_000.06)
    assert thing.told == [1_000.06]
    for now in (1_000.11, 1_000.16, 1_000.21, 1_000.26):
        wheel.advance(now)
    assert thing.told == [1_000.06, 1_000.11, 1_000.16]
    assert len(wheel) == 0


def test_after_a_long_pause_all_that_is_over_is_told_in_one_turn_in_its_order(wheel):
    order = []
    for number in range(50):
        wheel.put(1_000.0 + number, Thing(lambda _, number=number: order.append(number)))
    far = Thing()
    wheel.put(9_999.0, far)
    wheel.advance(1_100.0)
    assert order == list(range(50))
    assert not far.told
    assert len(wheel) == 1


def test_what_puts_itself_on_during_a_long_turn_is_told_once_in_it(wheel):
    thing = Thing(lambda now: wheel.put(now, thing))
    wheel.put(1_000.2, thing)
    wheel.put(1_060.0, Thing())
    wheel.advance(1_060.0)
    assert thing.told == [1_060.0]


def test_a_clock_that_stands_still_tells_nothing_twice(wheel):
    thing = Thing()
    wheel.put(1_000.05, thing)
    for _ in range(3):
        wheel.advance(1_000.051)
    assert thing.told == [1_000.051]


def test_what_is_dropped_is_not_told(wheel):
    kept, dropped = Thing(), Thing()
    wheel.put(1_000.5, kept)
    wheel.put(1_000.5, dropped)
    wheel.drop(dropped)
    wheel.drop(dropped)
    wheel.advance(1_001.0)
    assert kept.told == [1_001.0]
    assert not dropped.told


def test_dropping_what_was_told_or_never_put_does_no_harm(wheel):
    told, other = Thing(), Thing()
    wheel.put(1_000.1, told)
    wheel.advance(1_000.2)
    wheel.put(1_000.3, other)
    wheel.drop(told)
    wheel.drop(Thing())
    assert len(wheel) == 1
    wheel.drop(other)
    assert len(wheel) == 0


def test_a_defect_in_one_does_not_cost_the_others_their_time(wheel, caplog):
    def defect(_):
        raise RuntimeError("a defect")

    things = [Thing(), Thing(defect), Thing()]
    for thing in things:
        wheel.put(1_000.1, thing)
    later = Thing()
    wheel.put(1_000.2, later)
    wheel.advance(1_000.3)
    assert [len(thing.told) for thing in [*things, later]] == [1, 1, 1, 1]
    assert "a defect" in caplog.text


def test_thousands_at_random_times_come_and_go(wheel):
    chance = random.Random(7)
    things = [Thing() for _ in range(5_000)]
    for thing in things:
        wheel.put(1_000.0 + chance.uniform(0, 30), thing)
    for thing in things[::2]:
        wheel.drop(thing)
    assert len(wheel) == 2_500
    turned(wheel, 1_000.0, 1_030.2)
    assert len(wheel) == 0
    assert not any(thing.told for thing in things[::2])
    assert all(len(thing.told) == 1 for thing in things[1::2])


async def test_it_turns_by_itself_once_started_and_not_after_stop():
    wheel = Wheel(tick=0.01)
    wheel.start()
    loop = asyncio.get_running_loop()
    first, second = Thing(), Thing()
    when = loop.time() + 0.03
    wheel.put(when, first)
    await until(lambda: first.told)
    assert first.told[0] >= when
    wheel.stop()
    wheel.put(loop.time(), second)
    await asyncio.sleep(0.05)  # nothing to poll for: several ticks in which nothing may happen
    assert not second.told
    assert len(wheel) == 1


# -- timeouts


@pytest.fixture
async def turning():
    wheel = Wheel(tick=0.01)
    wheel.start()
    yield wheel
    wheel.stop()
    assert len(wheel) == 0


async def test_a_block_that_takes_too_long_raises_timeout_error_and_not_early(turning):
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(TimeoutError), turning.timeout(0.05):
        await asyncio.Event().wait()
    assert loop.time() - started >= 0.05
    assert asyncio.current_task().cancelling() == 0


async def test_a_block_that_is_in_time_gives_its_result_or_its_own_error(turning):
    with turning.timeout(5):
        await asyncio.sleep(0)
    with pytest.raises(LookupError), turning.timeout(5):
        raise LookupError
    assert len(turning) == 0


async def test_a_cancellation_from_outside_wins_over_the_timeout(turning):
    async def work():
        with turning.timeout(0.03):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_in_the_same_turn_as_the_timeout_wins(turning):
    timeout = turning.timeout(5)

    async def work():
        with timeout:
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    timeout.due(0.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(("outer", "inner", "raised_in"), [(0.03, 5, "outer"), (5, 0.03, "inner")])
async def test_of_nested_timeouts_the_one_whose_time_is_over_raises(turning, outer, inner, raised_in):
    seen = []
    try:
        with turning.timeout(outer):
            try:
                with turning.timeout(inner):
                    await asyncio.Event().wait()
            except TimeoutError:
                seen.append("inner")
    except TimeoutError:
        seen.append("outer")
    assert seen == [raised_in]


async def test_of_nested_timeouts_in_the_same_turn_the_outer_one_raises(turning):
    outer, inner = turning.timeout(5), turning.timeout(5)

    async def work():
        try:
            with outer, inner:
                await asyncio.Event().wait()
        except TimeoutError:
            return outer
        return None

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    inner.due(0.0)
    outer.due(0.0)
    assert await task is outer
    assert len(turning) == 0
