"""Memory is given back after a crowd, and only then."""

from __future__ import annotations

import asyncio
import gc
from contextlib import asynccontextmanager

import pytest

from bridge import memory
from tests.bridge.callers import until


@asynccontextmanager
async def tidying(monkeypatch, held, again_after=(0,)):
    collected = []
    monkeypatch.setattr(memory, "AGAIN_AFTER", again_after)
    monkeypatch.setattr(memory, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(gc, "collect", lambda: collected.append(held["now"]))
    looks = []
    task = asyncio.create_task(memory.tidy_after_crowds(lambda: looks.append(1) or held["now"]))
    try:
        yield collected, looks
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def looked_again(looks):
    before = len(looks)
    await until(lambda: len(looks) > before + 1)


@pytest.mark.parametrize(("crowd", "left", "tidied"), [(1_000, 100, 1), (1_000, 101, 0), (999, 0, 0), (5_000, 0, 1)])
async def test_once_a_tenth_is_left_of_a_crowd(monkeypatch, crowd, left, tidied):
    held = {"now": crowd}
    async with tidying(monkeypatch, held) as (collected, looks):
        await looked_again(looks)
        held["now"] = left
        await looked_again(looks)
        await looked_again(looks)
    assert collected == [left] * tidied


async def test_again_a_little_later(monkeypatch):
    held = {"now": 1_000}
    async with tidying(monkeypatch, held, (0, 2, 5)) as (collected, looks):
        await looked_again(looks)
        held["now"] = 0
        await until(lambda: len(collected) == 3)
        await looked_again(looks)
    assert collected == [0, 0, 0]


async def test_not_while_there_is_another_crowd(monkeypatch):
    held = {"now": 1_000}
    async with tidying(monkeypatch, held, (0, 5)) as (collected, looks):
        await looked_again(looks)
        held["now"] = 100
        await until(lambda: collected)
        held["now"] = 1_000
        for _ in range(4):
            await looked_again(looks)
    assert collected == [100]


async def test_each_crowd_anew(monkeypatch):
    held = {"now": 2_000}
    async with tidying(monkeypatch, held) as (collected, looks):
        for number in (1, 2):
            held["now"] = 2_000
            await looked_again(looks)
            held["now"] = 0
            await until(lambda number=number: len(collected) == number)
