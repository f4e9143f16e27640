"""What has to be done again and again, by each bridge for all: expire, send what others left, clean, look, greet."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from bridge.jobs.membership import GREET_EVERY
from bridge.jobs.results import expired
from bridge.jobs.store import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from bridge.jobs.membership import Membership
    from bridge.jobs.posting import PostOffice
    from bridge.jobs.replies import ReplyKeeper
    from bridge.jobs.service import JobService
    from bridge.jobs.store import JobStore

log = logging.getLogger(__name__)

TICK: Final = GREET_EVERY  # seconds
DOWN_TICK: Final = 0.25  # seconds, while the store is away
CLEAN_EVERY: Final = 15  # ticks


class Keeper:
    """One task. Whatever it meets (no store, no broker), it goes on with the next tick."""

    def __init__(
        self,
        service: JobService,
        store: JobStore,
        office: PostOffice,
        replies: ReplyKeeper,
        membership: Membership,
        lease_ms: int,
    ) -> None:
        self._service = service
        self._store = store
        self._office = office
        self._replies = replies
        self._membership = membership
        self._lease_ms = lease_ms
        self._tasks: list[asyncio.Task[None]] = []
        self._to_look_at: set[str] = set()
        self._look = asyncio.Event()
        # After a time without the store others may have jobs to take back: their leases are let be for one lease.
        self._hands_off_until = 0

    def start(self) -> None:
        """Begin, on the running loop."""
        self._tasks = [
            asyncio.create_task(self._run(), name="job keeper"),
            asyncio.create_task(self._look_at_woken(), name="job waker"),
        ]

    async def stop(self) -> None:
        """End."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def look_at(self, job_ids: list[str]) -> None:
        """Ask the store for these jobs soon; many at once cost one question."""
        self._to_look_at.update(job_ids)
        self._look.set()

    async def _look_at_woken(self) -> None:
        while True:
            await self._look.wait()
            self._look.clear()
            wanted, self._to_look_at = list(self._to_look_at), set()
            await self._try(self._service.poll(wanted))

    async def _run(self) -> None:
        ticks = 0
        while True:
            if self._store.available:
                await self._tick(ticks)
                ticks += 1
                await asyncio.sleep(TICK)
            else:
                await asyncio.sleep(DOWN_TICK)
                await self._try(self._store.probe())
                self._hands_off_until = self._service.now_ms() + self._lease_ms

    async def _tick(self, ticks: int) -> None:
        await self._try(self._membership.greet())
        self._office.mark()
        self._office.give_up()
        await self._try(self._service.undo())
        await self._try(self._service.poll())
        await self._try(self._service.followers.poll())
        await self._try(self._replies.pass_over())
        await self._try(self._expire())
        if self._service.ready:
            await self._try(self._send_left())
        if ticks % CLEAN_EVERY == 0:
            await self._try(self._clean())

    async def _expire(self) -> None:
        now_ms = self._service.now_ms()
        overdue = await self._store.overdue(now_ms)
        for settling in [self._store.settle(job_id, expired, now_ms) for job_id in overdue]:
            job, changed = await settling
            if job is not None and changed:
                self._service.settled_here(job)

    async def _send_left(self) -> None:
        now_ms = self._service.now_ms()
        left = await self._store.claim(
            self._service.name,
            {*self._office.busy, *self._service.taken_back},
            now_ms,
            now_ms + self._lease_ms,
            others=now_ms >= self._hands_off_until,
        )
        self._office.send_again([unsent for unsent in left if unsent.job.deadline_ms > now_ms])

    async def _clean(self) -> None:
        cleaned = await self._store.clean(self._service.now_ms())
        if cleaned:
            log.debug("cleaned %d jobs whose time was over", cleaned)

    async def _try(self, work: Awaitable[object]) -> None:
        try:
            await work
        except StoreUnavailableError:
            pass  # the store has logged it, and it is tried again with the next tick
        except Exception:
            log.exception("a defect in what is done for all jobs")  # and the rest of it still has its turn
