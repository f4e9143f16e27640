"""Everything that a run needs: a broker, two bridges and some workers as processes, callers, and the wire between."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import secrets
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import httpx

from bench.child import ROOT, Child
from tests.bridge.processes import Process
from tests.faults.history import SECOND, Drained, Epoch, Fault, Journal, Life, now
from tests.faults.observed import FOLDER

QUEUE = "faults.work"
CLOCK_FILE = "clock"  # by how much the clocks that can be set are wrong, for libfaketime
PATIENCE = 60.0  # seconds, on a saturated machine
ROUTES = """[[route]]
name = "safe"
path = "/safe"
queue = "{queue}"
timeout = "20s"
persistent = true
{more}"""
MORE = """max_held = 20000
max_backlog = 30000
max_attempts = {attempts}
"""
CALLER = """[[caller]]
name = "load"
key_sha256 = "{key}"
routes = ["echo", "safe"]
max_held = 20000
rate = "1000000/s"
[admin]
key_sha256 = "{admin}"
"""


@dataclass
class WorkerProcess:
    """A worker; each one that is started has a name of its own."""

    name: str
    pid: int
    log: Path
    ended: asyncio.Future[int]
    stopped: bool = False


class Nursery:
    """The parent's side of :mod:`tests.faults.children.nursery`."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._born: dict[str, asyncio.Future[int]] = {}
        self._ended: dict[int, asyncio.Future[int]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.children.nursery", cwd=ROOT,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        await self._process.stdout.readline()
        self._reading = asyncio.create_task(self._read(self._process.stdout))

    async def make(self, name: str, log: Path, arguments: list[str], environ: dict[str, str]) -> WorkerProcess:
        assert self._process is not None
        assert self._process.stdin is not None
        born = self._born[name] = asyncio.get_running_loop().create_future()
        order = {"name": name, "log": str(log), "arguments": arguments, "environ": environ}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(PATIENCE):
            pid = await born
        return WorkerProcess(name, pid, log, self._ended[pid])

    async def close(self) -> None:
        if self._process is None or self._process.stdin is None:
            return
        self._process.stdin.close()
        await self._process.wait()
        if self._reading is not None:
            await self._reading

    async def _read(self, stream: asyncio.StreamReader) -> None:
        loop = asyncio.get_running_loop()
        async for line in stream:
            said = json.loads(line)
            if "name" in said:
                self._ended[said["pid"]] = loop.create_future()
                _settle(self._born.pop(said["name"]), said["pid"])
            else:
                _settle(self._ended.pop(said["ended"]), said["code"])


def _settle(future: asyncio.Future[int], value: int) -> None:
    if not future.done():  # who waited may have been cancelled
        future.set_result(value)


class World:
    """``async with World(...) as world``: all of it is up; at the end all of it is gone, whatever happened.

    ``slots``: of each worker; ``worker``: its module and name; ``environ``: more of a bridge's or worker's environment,
    by its name; ``plan``: what is called; ``long``: the form of the suite; ``fronts``: callers go through the wire
    too, by links ``front-bridge-N``; ``attempts``: after which a message is parked. So many that, where workers are
    killed by the hundred, only what kills them itself is; ``hung_after``: seconds that a worker has patience.
    """

    def __init__(
        self, folder: Path, broker: Any, *, workers: int = 4, slots: int = 8, loads: int = 1,
        worker: str = "tests.faults.handlers:worker", environ: Mapping[str, dict[str, str]] | None = None,
        plan: Mapping[str, int] | None = None, long: bool = False, fronts: bool = False,
        attempts: int = 50, hung_after: int = 30,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.broker = broker
        self.number_of_workers = workers
        self.workers: dict[str, WorkerProcess] = {}
        self.bridges: dict[str, Process] = {}
        self.loads: list[Child] = []
        self.nursery = Nursery()
        self.key, self.wrong_key, self.admin_key = (secrets.token_urlsafe(32) for _ in range(3))
        self.journal = Journal(folder / "world.journal")
        self.injected: dict[str, int] = {}
        self.lives: dict[str, int] = {}  # since when each bridge is there
        self.parked = 0  # messages that are poison
        self.long = long
        self.plan = dict(plan or {})
        self.skewed = sorted(environ or {})  # whose clocks are wrong
        (folder / CLOCK_FILE).write_text("+0h\n")
        self._environ = {
            name: {key: value.format(folder=folder) for key, value in more.items()}
            for name, more in (environ or {}).items()
        }
        self._slots = slots
        self.hung_after = hung_after
        self._more = MORE.format(attempts=attempts)
        self._fronts = fronts
        self._number_of_loads = loads
        self._worker = worker
        self._names = itertools.count(1)
        self._locks: dict[int, asyncio.Lock] = {}

    @property
    def secrets(self) -> dict[str, str]:
        return {
            "broker's passcode": self.broker.passcode,
            "caller's key": self.key,
            "admin key": self.admin_key,
            "wrong key": self.wrong_key,
        }

    async def __aenter__(self) -> Self:
        try:
            self.wire = await self._child("wire")
            self.journal.write(Epoch(time.time_ns() // 1_000 - now()))
            await self.nursery.start()
            for number in (1, 2):
                await self._add_bridge(f"bridge-{number}")
            await asyncio.gather(*(self.spawn() for _ in range(self.number_of_workers)))
            ports = {name: await self._front(name, bridge.port) for name, bridge in self.bridges.items()}
            for number in range(1, self._number_of_loads + 1):
                load = await self._child("load", number=number, ports=ports, key=self.key, wrong_key=self.wrong_key)
                self.loads.append(load)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for load in self.loads:
            await load.stop()
        for bridge in self.bridges.values():
            if not bridge.ended():
                with suppress(AssertionError):
                    bridge.signal(signal.SIGCONT)
            bridge.kill()
        await self.nursery.close()
        if hasattr(self, "wire"):
            await self.wire.stop()
        self.journal.flush()

    # -- its parts

    async def ask(self, child: Child, do: str, **arguments: Any) -> Any:
        """Have a child do something; one thing at a time."""
        async with self._locks.setdefault(id(child), asyncio.Lock()):
            return await child.ask(do, **arguments)

    async def _child(self, name: str, **configuration: object) -> Child:
        whole = {"folder": str(self.folder), **configuration}
        return await Child.start_module(name, f"tests.faults.children.{name}", whole)

    async def _front(self, name: str, port: int) -> int:
        """The port that callers of a bridge use."""
        if not self._fronts:
            return port
        return int(await self.ask(self.wire, "open", name=f"front-{name}", to=port))

    async def _add_bridge(self, name: str) -> None:
        port = await self.ask(self.wire, "open", name=name, to=self.broker.stomp_port)
        hashes = {"key": sha256(self.key.encode()).hexdigest(), "admin": sha256(self.admin_key.encode()).hexdigest()}
        seen = SimpleNamespace(
            stomp_url=f"stomp://127.0.0.1:{port}", login=self.broker.login, passcode=self.broker.passcode
        )
        self.bridges[name] = Process(
            seen, self.folder, QUEUE, name,
            server='max_held = 20000\ndrain = "25s"\n', route=self._more,
            tables=ROUTES.format(queue=QUEUE, more=self._more) + CALLER.format(**hashes), publish_timeout="5s",
            program="tests.faults.observed", environ={FOLDER: str(self.folder), **self._environ.get(name, {})},
        )  # fmt: skip
        await self.start_bridge(name)

    async def start_bridge(self, name: str) -> None:
        """Start it, also again."""
        self.lives[name] = now()
        await self.bridges[name].start()
        self.journal.write(Life(self.lives[name], name))

    async def spawn(self, *, ready: bool = True) -> WorkerProcess:
        """Start another worker, on a link of its own; ``ready``: come back when it serves."""
        name = f"worker-{next(self._names)}"
        port = await self.ask(self.wire, "open", name=name, to=self.broker.stomp_port)
        environ = {
            "MQBRIDGE_BROKER__LOGIN": self.broker.login, "MQBRIDGE_BROKER__PASSCODE": self.broker.passcode,
            "FAULTS_WORKER": name, "FAULTS_QUEUE": QUEUE, FOLDER: str(self.folder),
        }  # fmt: skip
        arguments = ["work", self._worker, "--broker", f"stomp://127.0.0.1:{port}", "--concurrency", str(self._slots)]
        arguments += ["--hung-after", str(self.hung_after)]
        environ |= self._environ.get(name, {})
        worker = await self.nursery.make(name, self.folder / f"{name}.log", arguments, environ)
        self.workers[name] = worker
        if ready:
            await self.serving(worker)
        return worker

    async def serving(self, worker: WorkerProcess) -> None:
        async with asyncio.timeout(PATIENCE):
            while "worker ready" not in (worker.log.read_text() if worker.log.exists() else ""):
                assert not worker.ended.done(), f"{worker.name} ended:\n{worker.log.read_text()[-2_000:]}"
                await asyncio.sleep(0.02)

    async def busiest(self) -> WorkerProcess:
        """The living worker that has the most messages at the moment; waits until one has some."""
        async with asyncio.timeout(PATIENCE):
            while True:
                busy = await self.ask(self.wire, "busy")
                alive = [worker for worker in self.living() if busy.get(worker.name)]
                if alive:
                    random.shuffle(alive)
                    return max(alive, key=lambda worker: int(busy[worker.name]))
                await asyncio.sleep(0.02)

    def living(self) -> list[WorkerProcess]:
        return [worker for worker in self.workers.values() if not worker.ended.done()]

    async def buried(self, worker: WorkerProcess) -> int:
        """Wait until it has ended; return its exit code, -N if signal N ended it."""
        async with asyncio.timeout(PATIENCE):
            code = await asyncio.shield(worker.ended)
        self.workers.pop(worker.name, None)
        await self.ask(self.wire, "close", name=worker.name)
        return code

    # -- what is done to it

    def note(self, kind: str, target: str, begun: int, ended: int | None = None, *, count: bool = True) -> None:
        """Write down a fault."""
        self.journal.write(Fault(begun, ended or now(), kind, target))
        if count:
            self.injected[kind] = self.injected.get(kind, 0) + 1

    async def kill_worker(self, worker: WorkerProcess, kind: str = "kill -9 worker") -> None:
        """End it without a word, and begin with another."""
        begun = now()
        with suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGKILL)
        self.note(kind, worker.name, begun)
        await self.buried(worker)
        await self.spawn(ready=False)

    async def kill_bridge(self, name: str, kind: str = "kill -9 gateway") -> None:
        begun = now()
        self.bridges[name].kill()
        await self.start_bridge(name)
        self.note(kind, name, begun)

    def drain_bridge(self, name: str) -> None:
        """Tell it to drain."""
        self.journal.write(Drained(now(), name))
        self.bridges[name].signal(signal.SIGTERM)

    async def kill_broker(self, away: float) -> None:
        """End it without a word, for so many seconds."""
        begun = now()
        await self.broker.kill()
        await asyncio.sleep(away)
        await self.broker.start()
        self.note("kill -9 broker", "broker", begun)

    async def trouble(self, kind: str, names: list[str], seconds: float, way: str = "both", **trouble: Any) -> None:
        """Make trouble on the network of some, for so long."""
        begun = now()
        await self.ask(self.wire, "trouble", names=names, way=way, **trouble)
        await asyncio.sleep(seconds)
        await self.ask(self.wire, "trouble", names=names)
        for at, name in enumerate(names):
            self.note(kind, name, begun, count=not at)

    # -- asking it

    def get(self, name: str, path: str) -> httpx.Response:
        """A page of a bridge, as its operator."""
        headers = {"authorization": f"Bearer {self.admin_key}"}
        return httpx.get(f"http://127.0.0.1:{self.bridges[name].port}{path}", headers=headers, timeout=PATIENCE)

    async def status(self, name: str) -> dict[str, Any]:
        """What a bridge says of itself."""
        status: dict[str, Any] = (await asyncio.to_thread(self.get, name, "/-/api/status")).json()
        return status

    def scaled(self, number: int) -> int:
        """A tenth of it in the short form."""
        return number if self.long else number // 10

    async def call(self, **plan: Any) -> None:
        """Have all callers call from now on; ``plan``: what is otherwise than in the world's."""
        whole = {**self.plan, **plan}
        whole["connections"] = whole.get("connections", 64) // len(self.loads)
        for load in self.loads:
            await self.ask(load, "start", **whole)

    async def ended(self, how: str) -> int:
        """How many calls have ended so: with this status, or this problem."""
        return sum([(await self.ask(load, "counts")).get(how, 0) for load in self.loads])

    async def answered(self) -> int:
        """How many calls have had a worker's answer."""
        return await self.ended("200")

    async def respawn(self, kind: str, over: asyncio.Event) -> None:
        """Start a worker for each that ends by itself, until it is over."""
        while not over.is_set():
            for worker in [one for one in self.workers.values() if one.ended.done()]:
                self.note(kind, worker.name, now() - SECOND)
                await self.buried(worker)
                await self.spawn(ready=False)
            await asyncio.sleep(0.02)

    async def well_again(self, calls: int = 200, within: float = 2 * PATIENCE) -> None:
        """Wait until that many more calls have been answered by workers."""
        before = await self.answered()
        async with asyncio.timeout(within):
            while await self.answered() < before + calls:  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.1)
