"""The end of a run: all is healed, nobody calls any more, and what is left is written down."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter as Count
from contextlib import closing, suppress
from pathlib import Path
from sqlite3 import connect
from typing import Any

from activemq import Client
from activemq.errors import ServerError
from activemq.frames import encode
from bridge.jobs.link import REPLIES
from tests.bridge.harness import _OF_CALLS, client_for
from tests.faults.history import Counter, Leak, Left
from tests.faults.observed import tasks_file
from tests.faults.world import PATIENCE, QUEUE, World

HOLD = 20.0  # seconds, the longest that a call is held
CALLS = re.compile(r'^mqbridge_calls_total\{outcome="([^"]+)",route="[^"]*"\} ([0-9.e+]+)$', re.MULTILINE)
LAST = "the last one"


async def settle(world: World) -> dict[str, Any]:
    """Let all that goes on come to its end, then look at what is left; return what the callers count."""
    for load in world.loads:
        await world.ask(load, "stop", within=HOLD + PATIENCE)
    for name in world.bridges:
        await _everything_sent(world, name)
    missing = sum([await world.ask(load, "collect", within=2 * PATIENCE) for load in world.loads])
    _left(world, "the callers", "jobs without a final state", missing)
    await _idle(world)
    for name in world.bridges:
        await _look_at(world, name)
    await asyncio.gather(*(_drain(world, worker.name) for worker in world.living()))
    await asyncio.gather(*(_end(world, name) for name in world.bridges))
    await world.ask(world.wire, "flush")
    await _look_into_queues(world)
    _look_into_logs(world)
    counted = [await world.ask(load, "totals") for load in world.loads]
    return {key: _added([one[key] for one in counted]) for key in ("ended", "kinds")}


def _added(counts: list[dict[str, int]]) -> dict[str, int]:
    return dict(sorted(sum(map(Count, counts), Count()).items()))


def _left(world: World, who: str, what: str, number: int, allowed: int = 0) -> None:
    world.journal.write(Left(who, what, number, allowed))


async def _everything_sent(world: World, bridge: str) -> None:
    """Wait until a call of this bridge is answered: what it sent before, to a broker slow to read, is there then."""
    async with asyncio.timeout(2 * PATIENCE):
        answers: dict[str, int] = {}
        while "200" not in answers:
            answers = await world.ask(
                world.loads[0], "special", what="echo", number=1, at_once=1, wait=20, within=PATIENCE, bridge=bridge
            )


async def _idle(world: World) -> None:
    """Wait until no worker has a message, thrice in a row: what is not answered any more may still have to be run."""
    quiet = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(HOLD + 4 * PATIENCE):  # a broker that was full has room again every half minute
            while quiet < 3:
                busy = await world.ask(world.wire, "busy")
                alive = {worker.name for worker in world.living()}
                quiet = quiet + 1 if not any(busy.get(name, 0) for name in alive) else 0
                await asyncio.sleep(0.3)
    _left(world, "the workers", "messages not acknowledged", 0 if quiet == 3 else 1)


async def _look_at(world: World, name: str) -> None:
    """What a bridge at rest has none of, and what it counts."""
    held = {"answers to who asks for its status": 1}  # until there is one
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE / 2):
            while True:
                status = await world.status(name)
                backlog = sum(route["backlog"] + route["held"] for route in status["routes"])
                held = {"held": status["held"], "bytes of bodies": status["body_memory"], "backlog": backlog}
                if not any(held.values()):
                    break
                await asyncio.sleep(0.1)
    for what, number in held.items():
        _left(world, name, what, number)
    _left(world, name, "tasks of calls", await _tasks(world, name))
    figures = (await asyncio.to_thread(world.get, name, "/-/metrics")).text
    since = world.lives[name]
    totals: dict[str, int] = {}
    for outcome, number in CALLS.findall(figures):
        totals[outcome] = totals.get(outcome, 0) + round(float(number))
    for outcome, total in totals.items():
        world.journal.write(Counter(name, since, outcome, total))


async def _tasks(world: World, name: str) -> int:
    """How many tasks of calls a bridge has; those of the pages that we have just asked for end in a moment."""
    number = await _tasks_now(world, name)
    for _ in range(20):
        if not number:
            break
        await asyncio.sleep(0.1)
        number = await _tasks_now(world, name)
    return number


async def _tasks_now(world: World, name: str) -> int:
    pid = world.bridges[name].pid
    file = tasks_file(world.folder, pid)
    file.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR2)
    async with asyncio.timeout(PATIENCE):
        while not file.exists():  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.02)
    return sum(any(of in line for of in _OF_CALLS) for line in file.read_text().splitlines())


async def _drain(world: World, name: str) -> None:
    worker = world.workers[name]
    with suppress(ProcessLookupError):
        os.kill(worker.pid, signal.SIGTERM)
    _left(world, name, "exit code", abs(await world.buried(worker)))


async def _end(world: World, name: str) -> None:
    bridge = world.bridges[name]
    world.drain_bridge(name)
    _left(world, name, "exit code", abs(await bridge.exit_code(PATIENCE)))


async def _look_into_queues(world: World) -> None:
    """Count what is in each queue that this run can have written to, and take it away."""
    queues = [QUEUE, f"{QUEUE}.poison", f"DLQ.{QUEUE}", f"{REPLIES}{_store_id(world)}"]
    for queue in queues:
        allowed = world.parked if queue.endswith(".poison") else 0
        _left(world, queue, "messages", await taken_from(world.broker, queue), allowed)


def _store_id(world: World) -> str:
    with closing(connect(world.folder / "jobs.db")) as store:
        return str(store.execute("SELECT value FROM meta WHERE name = 'store_id'").fetchone()[0])


async def taken_from(broker: Any, queue: str) -> int:
    """Take all that is in a queue: what comes before a last message of our own, which has the lowest priority."""
    came: list[bytes] = []
    last = asyncio.Event()

    def take(frame: Any) -> None:
        if frame.body == LAST.encode():
            last.set()
        else:
            came.append(frame.body)

    client = client_for(broker)
    await client.start()
    try:
        async with asyncio.timeout(PATIENCE):
            await client.wait_connected()
            destination = client.profile.queue(queue)
            await _send_last(client, destination)
            client.subscribe(lambda _: {"destination": destination, "ack": "auto"}, take)
            await last.wait()
    finally:
        await client.stop()
    return len(came)


async def _send_last(client: Client, destination: str) -> None:
    """Again while its store is full: KahaDB frees what was acknowledged every half minute."""
    headers = [("destination", destination), ("receipt", LAST), ("priority", "0"), ("persistent", "true")]
    data = encode("SEND", headers, LAST.encode())
    while True:
        try:
            return await client.request_receipt(data, LAST, timeout=PATIENCE)
        except ServerError:
            await asyncio.sleep(1.0)


def _look_into_logs(world: World) -> None:
    logs = [*world.folder.glob("*.log"), *_broker_logs(world.broker)]
    for log in logs:
        for secret, line in leaks(log.read_bytes(), world.secrets):
            world.journal.write(Leak(secret, log.name, line))


def _broker_logs(broker: Any) -> list[Path]:
    log = getattr(broker, "log_path", None)
    return [] if log is None else sorted(log.parent.glob(f"{log.name}*"))


def leaks(data: bytes, secrets: dict[str, str]) -> list[tuple[str, int]]:
    """The names of the secrets that are in a log, and the lines of their first places."""
    found = []
    for name, secret in secrets.items():
        at = data.find(secret.encode())
        if at >= 0:
            found.append((name, data.count(b"\n", 0, at) + 1))
    return found
