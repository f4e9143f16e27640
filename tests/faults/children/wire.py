"""The process between all bridges and workers and their broker: a port for each, whose traffic is recorded."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from bench.children import loops
from bench.children.channel import Channel
from tests.faults.history import Journal, now
from tests.faults.proxy import NO_TROUBLE, Cut, Link, Trouble, Way
from tests.faults.recorder import BridgeRecorder, NoRecorder, Recorder, WorkerRecorder

FLUSH_EVERY = 0.25  # seconds


class Wire:
    """All links, by the names of who uses them."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal(folder / "wire.journal")
        self._links: dict[str, Link] = {}
        self._recorders: dict[str, list[WorkerRecorder]] = {}
        self._of_bridges: dict[str, list[BridgeRecorder]] = {}
        self._connections = itertools.count(1)

    async def open(self, name: str, to: int) -> int:
        """Open a port that leads to ``to``, a broker's where ``name`` is a bridge's or a worker's; return it."""
        self._links[name] = link = Link(to, self._recorder_for(name))
        self._recorders[name] = []
        return await link.open()

    async def close(self, name: str) -> None:
        """Close a port and all that goes through it."""
        del self._recorders[name]
        await self._links.pop(name).close()

    async def trouble(self, names: list[str], way: Way = "both", **trouble: Any) -> None:
        """Make trouble on these links, that way; without ``trouble``: end it."""
        for name in names:
            self._links[name].set(Trouble(**trouble) if trouble else NO_TROUBLE, way)

    async def reset(self, names: list[str]) -> None:
        """Reset all connections of these links."""
        for name in names:
            self._links[name].reset()

    async def busy(self) -> dict[str, int]:
        """How many messages each worker has that it has not acknowledged."""
        return {
            name: sum(one.unacknowledged for one in recorders[-1:])
            for name, recorders in self._recorders.items()
            if name.startswith("worker")
        }

    async def messages(self, names: list[str]) -> int:
        """How many messages these bridges have sent to queues or to withdraw a call, of which each is for some call."""
        return sum(recorder.messages for name in names for recorder in self._of_bridges[name])

    async def kill_at_reply(self, name: str, pid: int, within: float) -> int:
        """Kill a worker when the broker has its next reply, before it can know; return when that was, 0 if it was not.

        So the ACK is never sent.
        """
        killed: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def kill() -> None:
            if not killed.done():
                self._links[name].set(Trouble(stall=True))  # nothing of what is in its buffers comes through
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                killed.set_result(now())

        recorders = tuple(self._recorders[name])
        for recorder in recorders:
            recorder.on_reply_receipt = kill
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                return await killed
        for recorder in recorders:
            recorder.on_reply_receipt = None
        return 0

    async def cut(self, cuts: dict[str, int], way: Way, mark: str, holds: str, within: float) -> dict[str, int]:
        """Reset each link behind the N-th byte of its next such frame; return the frames' sizes, of those that came."""
        pending = {}
        for name, after in cuts.items():
            done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            pending[name] = done
            self._links[name].cut = Cut(way, f"{mark}\n".encode(), holds.encode(), after, done)
        await asyncio.wait(pending.values(), timeout=within)
        for name in cuts:
            self._links[name].cut = None
        return {name: done.result() for name, done in pending.items() if done.done()}

    async def flush(self) -> None:
        """Write down all that is known."""
        self.journal.flush()

    def _recorder_for(self, name: str) -> Callable[[], Recorder]:
        if name.startswith("worker"):
            return partial(self._for_worker, name)
        return partial(self._for_bridge, name) if name.startswith("bridge") else NoRecorder

    def _for_bridge(self, name: str) -> BridgeRecorder:
        recorder = BridgeRecorder(name, self.journal.add, next(self._connections))
        self._of_bridges.setdefault(name, []).append(recorder)
        return recorder

    def _for_worker(self, name: str) -> WorkerRecorder:
        recorder = WorkerRecorder(name, self.journal.add, next(self._connections))
        self._recorders[name].append(recorder)
        return recorder

    async def keep_writing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY)
            self.journal.flush()


async def main() -> None:
    """Pass on until the parent is gone."""
    channel = Channel()
    wire = Wire(Path(channel.configuration["folder"]))
    commands = ("open", "close", "trouble", "reset", "busy", "messages", "kill_at_reply", "cut", "flush")
    channel.ready({name: getattr(wire, name) for name in commands})
    await wire.keep_writing()


if __name__ == "__main__":
    loops.run(main())
