"""What is done to a world: each function is a fault, done so many times, and written down with whom it hit."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
from contextlib import suppress
from pathlib import Path

from activemq.embedded.configuration import MIB
from tests.faults.history import now
from tests.faults.world import CLOCK_FILE, PATIENCE, World


def _seconds(short: float, long: float, world: World) -> float:
    return long if world.long else short


# -- workers


async def kill_workers(world: World, count: int) -> None:
    """In mid-job: the one that has the most to do, at any instant."""
    for _ in range(count):
        await asyncio.sleep(random.uniform(0.02, 0.25))
        await world.kill_worker(await world.busiest())


async def kill_after_reply(world: World, count: int) -> None:
    """Its reply is at the broker, and its ACK is never sent."""
    done = 0
    while done < count:
        worker = await world.busiest()
        begun = now()
        killed = await world.ask(world.wire, "kill_at_reply", name=worker.name, pid=worker.pid, within=5.0)
        if killed:
            done += 1
            world.note("kill -9 after reply, before ACK", worker.name, begun)
            await world.buried(worker)
            await world.spawn(ready=False)


async def stop_workers(world: World, count: int) -> None:
    for _ in range(count):
        worker = await world.busiest()
        begun = now()
        os.kill(worker.pid, signal.SIGSTOP)
        await asyncio.sleep(_seconds(3.0, 40.0, world))
        os.kill(worker.pid, signal.SIGCONT)
        world.note("SIGSTOP worker", worker.name, begun)
        await asyncio.sleep(_seconds(1.0, 5.0, world))


async def hang(world: World, count: int) -> None:
    """Handlers that never answer: each is a call of a second, as the plan says."""
    begun, before = now(), await world.ended("deadline")
    async with asyncio.timeout(10 * PATIENCE):
        while await world.ended("deadline") < before + count:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.1)
    for _ in range(count):
        world.note("handler hangs", "callers", begun)


async def hang_for_good(world: World, count: int) -> None:
    """Handlers that do not listen when they are told to stop: their workers end themselves."""
    over = asyncio.Event()
    respawning = asyncio.create_task(world.respawn("handler hangs for good, its worker ends itself", over))
    try:
        answers = await world.ask(
            world.loads[0], "special", what="deaf", number=count, at_once=2, wait=1, within=4 * PATIENCE
        )
        await asyncio.sleep(world.hung_after + 3)
    finally:
        over.set()
        await respawning
    assert answers == {"deadline": count}, answers
    assert world.injected, "no worker has ended itself"


async def poison(world: World, count: int) -> None:
    """Each kills three workers, and is parked."""
    over = asyncio.Event()
    respawning = asyncio.create_task(world.respawn("poison", over))
    try:
        answers = await world.ask(
            world.loads[0], "special", what="poison", number=count, at_once=count, wait=20, within=4 * PATIENCE
        )
    finally:
        over.set()
        await respawning
    world.injected = {"poison": count}
    world.parked = count
    assert answers == {"poisoned": count}, answers


async def no_workers(world: World, count: int) -> None:
    """All leave, in good order; then others come."""
    for _ in range(count):
        begun = now()
        leaving = world.living()
        for worker in leaving:
            os.kill(worker.pid, signal.SIGTERM)
        for worker in leaving:
            assert await world.buried(worker) == 0, f"{worker.name} did not drain"
        await asyncio.sleep(_seconds(2.0, 10.0, world))
        await asyncio.gather(*(world.spawn() for _ in range(world.number_of_workers)))
        world.note("no consumers", "callers", begun)
        await world.well_again(50)


# -- broker


async def kill_broker(world: World, count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(random.uniform(0.5, 1.5))
        await world.kill_broker(random.uniform(0.0, 1.0))
        await world.well_again(50)


async def stop_broker(world: World, count: int) -> None:
    for _ in range(count):
        begun = now()
        os.kill(world.broker.pid, signal.SIGSTOP)
        await asyncio.sleep(_seconds(5.0, 60.0, world))
        os.kill(world.broker.pid, signal.SIGCONT)
        world.note("SIGSTOP broker", "broker", begun)
        await world.well_again(50)


async def fill_broker(world: World, count: int) -> None:
    """Bodies of 64 KiB, faster than slow workers take them, until it takes no more."""
    for _ in range(count):
        begun = now()
        for worker in world.living():
            os.kill(worker.pid, signal.SIGSTOP)
        async with asyncio.timeout(2 * PATIENCE):
            while not await world.ended("queue-full"):  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.1)
        await asyncio.sleep(_seconds(1.0, 10.0, world))
        for worker in world.living():
            os.kill(worker.pid, signal.SIGCONT)
            world.note("SIGSTOP worker", worker.name, begun, count=False)
        world.note("broker full", "broker", begun)
        await world.well_again(20, 4 * PATIENCE)  # KahaDB frees its files of 8 MiB every half minute


# -- the network


async def partitions(world: World, count: int) -> None:
    """Black hole, reset, one way, the other way, flapping: of a bridge, of two workers, of all."""
    for number in range(count):
        workers = [worker.name for worker in world.living()]
        whom = [["bridge-1"], workers[:2], [*world.bridges, *workers]][number % 3]
        seconds = _seconds(2.0, 12.0, world)
        for shape in ("both", "up", "down"):
            await world.trouble(f"partition ({shape})", whom, seconds, shape, stall=True)
            await world.well_again(20)
        for _ in range(10):  # flapping
            begun = now()
            await world.ask(world.wire, "reset", names=whom)
            for at, name in enumerate(whom):
                world.note("partition (RST, flapping)", name, begun, count=not at)
            await asyncio.sleep(random.uniform(0.1, 0.6))
        await world.well_again(20)


async def slow_network(world: World, count: int) -> None:
    """200 ± 100 ms; 10 kB/s; a byte at a time."""
    workers = [worker.name for worker in world.living()]
    for number in range(count):
        seconds = _seconds(2.0, 15.0, world)
        whom = ["bridge-1", *workers[:2]] if number % 2 == 0 else [*world.bridges, *workers]
        await world.trouble("latency 200±100 ms", whom, seconds, delay=0.2, jitter=0.1)
        await world.trouble("10 kB/s", whom[:2], seconds, rate=10_000)
        await world.trouble("1-byte slices", whom[:2], seconds, slices=True)
        await world.well_again(50)


# Whose frames, which way, how they begin, and what is in those of calls: the body is behind the blank line.
CUTS = (
    ("bridge", "up", "SEND", "\n\nn-"),
    ("worker", "up", "SEND", "\n\nre n-"),
    ("worker", "down", "MESSAGE", "\n\nn-"),
    ("worker", "up", "ACK", ""),
)


async def cut_frames(world: World, count: int) -> None:
    """Cut behind byte N of a frame, for every N: a request, a reply, a delivery, an ACK. ``count``: of each at most."""
    for who, way, mark, holds in CUTS:
        names = list(world.bridges) if who == "bridge" else [worker.name for worker in world.living()]
        at, size = 0, 1
        while at <= size:
            begun = now()
            cuts = {name: at + number for number, name in enumerate(names)}
            done = await world.ask(world.wire, "cut", cuts=cuts, way=way, mark=mark, holds=holds, within=10.0)
            for name in done:
                world.note(f"cut in a frame ({who}, {mark})", name, begun)
            if len(done) == len(names):
                size = max(done.values())
                at += len(names) * max(1, size // count)


async def corrupt(world: World, count: int) -> None:
    """Flipped bits and inserted NULs, in some of all that is sent."""
    for number in range(count):
        workers = [worker.name for worker in world.living()]
        whom = ["bridge-1"] if number % 2 == 0 else workers[:2]
        seconds = _seconds(2.0, 10.0, world)
        await world.trouble("bit flips", whom, seconds, flip=20_000)
        await world.trouble("inserted NULs", whom, seconds, nul=20_000)
        # Who was told nonsense may wait for a byte that does not come; a new connection does not.
        await world.ask(world.wire, "reset", names=whom)
        await world.well_again(50)


# -- the gateway


async def kill_bridges(world: World, count: int) -> None:
    for number in range(count):
        await asyncio.sleep(random.uniform(0.5, 1.5))
        await world.kill_bridge(f"bridge-{number % 2 + 1}")


async def drain_bridges(world: World, count: int) -> None:
    """SIGTERM with a thousand held; all get their answers, and the next one takes over."""
    for number in range(count):
        name = f"bridge-{number % 2 + 1}"
        wanted = world.scaled(1_000)
        async with asyncio.timeout(PATIENCE):
            while (await world.status(name))["held"] < wanted:  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.02)
        begun, refused = now(), await world.ended("draining")
        world.drain_bridge(name)
        code = await world.bridges[name].exit_code(PATIENCE)
        assert code == 0, f"{name} was to drain, and ended with {code}"
        assert await world.ended("draining") > refused, "nobody was refused: nothing shows that it drained"
        await world.start_bridge(name)
        world.note("SIGTERM gateway", name, begun)
        await world.well_again(50)


async def storm(world: World, count: int) -> None:
    """Ten thousand held calls, half of them aborted at once."""
    wanted = world.scaled(10_000)
    for _ in range(count):
        for load in world.loads:
            await world.ask(load, "stop", within=PATIENCE)
        begun = now()
        await world.call(connections=wanted, hold=15, job=0, keyed=0, unauthorised=0, leave=0)
        async with asyncio.timeout(PATIENCE):
            while sum([(await world.status(name))["held"] for name in world.bridges]) < wanted * 0.95:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        for load in world.loads:
            await world.ask(load, "leave", number=wanted // 2 // len(world.loads))
        world.note(f"{wanted // 2} of {wanted} held calls aborted", "callers", begun)
        for load in world.loads:
            await world.ask(load, "stop", within=PATIENCE)
        await world.call()
        await world.well_again(50)


async def descriptors(world: World, count: int) -> None:
    """No descriptor left for a while: no new connection, of callers or to the broker."""
    for number in range(count):
        name = f"bridge-{number % 2 + 1}"
        pid = world.bridges[name].pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        begun = now()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (_descriptors(pid), before[1]))
        await world.ask(world.wire, "reset", names=[name])
        await asyncio.sleep(_seconds(2.0, 15.0, world))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        world.note("gateway out of descriptors", name, begun)
        await world.well_again(50)


async def memory(world: World, count: int) -> None:
    """No page more for a while; and, as the kernel's killer does, no more at all."""
    for number in range(count):
        name = f"bridge-{number % 2 + 1}"
        pid = world.bridges[name].pid
        before = resource.prlimit(pid, resource.RLIMIT_AS)
        begun = now()
        resource.prlimit(pid, resource.RLIMIT_AS, (_address_space(pid) + MIB, before[1]))
        await asyncio.sleep(_seconds(2.0, 10.0, world))
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_AS, before)
        world.note("gateway out of memory", name, begun)
        await world.kill_bridge(name, "gateway killed for its memory")
        await world.well_again(50)


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _address_space(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


# -- clocks


FAKETIME = next(map(str, Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), "")


def clock(shift: str) -> dict[str, str]:
    """The environment of a process whose clock is off by so much (libfaketime)."""
    return {"LD_PRELOAD": FAKETIME, "FAKETIME": shift, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def settable() -> dict[str, str]:
    """The environment of a process whose clock is set in mid-run: by how much is in a file."""
    file = {"FAKETIME_TIMESTAMP_FILE": f"{{folder}}/{CLOCK_FILE}", "FAKETIME_CACHE_DURATION": "1"}
    return {"LD_PRELOAD": FAKETIME, "FAKETIME_DONT_FAKE_MONOTONIC": "1", **file}


async def clocks(world: World, count: int) -> None:
    """One bridge is an hour ahead, workers an hour behind and ahead, others' clocks are set: nobody should notice."""
    for _ in range(count):
        for shift in ("+1h", "-1h", "+0h"):
            begun = now()
            (world.folder / CLOCK_FILE).write_text(f"{shift}\n")
            await asyncio.sleep(_seconds(3.0, 10.0, world))
            world.note("clock set by an hour or two", "callers", begun)
    for name in world.skewed:
        world.note("clock ±1 h", name, begun)


async def strangers(world: World, count: int) -> None:
    """Nothing but calls without a right: not one message may reach the broker."""
    for load in world.loads:
        await world.ask(load, "stop", within=PATIENCE)
    await asyncio.sleep(1.0)
    before = await world.ask(world.wire, "messages", names=list(world.bridges))
    begun = now()
    refused = await world.ended("unauthenticated")
    await world.call(connections=400, job=0, keyed=0, persistent=0, leave=0, unauthorised=1_000)
    async with asyncio.timeout(5 * PATIENCE):
        while await world.ended("unauthenticated") < refused + count:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.1)
    for load in world.loads:
        await world.ask(load, "stop", within=PATIENCE)
    assert await world.ask(world.wire, "messages", names=list(world.bridges)) == before
    world.note(f"{count:,} unauthorised calls alone", "callers", begun)
    await world.call()
