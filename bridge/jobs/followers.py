"""Those who read jobs' events as they come. The events are in the store; a follower is told when to look."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.exchange import End

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.exchange import Refused
    from bridge.jobs.model import Job, Page
    from bridge.jobs.store import JobStore


class Follower:
    """One reader of one job; ``seen`` is the number up to which it knows all there is."""

    __slots__ = ("_look", "ended", "job_id", "seen")

    def __init__(self, job_id: str, seen: int) -> None:
        self.job_id = job_id
        self.seen = seen
        self.ended: End | None = None
        self._look = asyncio.Event()

    def wake(self) -> None:
        """Say that there may be more."""
        self._look.set()

    def end(self, outcome: End | Refused) -> bool:
        """End the reading from outside; False if it has ended already. A follower has nobody who could refuse it."""
        if self.ended is not None or not isinstance(outcome, End):
            return False
        self.ended = outcome
        self._look.set()
        return True

    async def more(self, timeout: float) -> bool:
        """Wait until there may be more, or it has ended; False after ``timeout`` seconds of silence."""
        try:
            async with asyncio.timeout(timeout):
                await self._look.wait()
        except TimeoutError:
            return False
        self._look.clear()
        return True


class Followers:
    """All readers at this bridge."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._by_job: dict[str, set[Follower]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_job.values()))

    def follow(self, job_id: str, after: int) -> Follower:
        """Begin to follow behind an event's number; needs its :meth:`leave`."""
        follower = Follower(job_id, after)
        self._by_job.setdefault(job_id, set()).add(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        """Follow no longer."""
        same = self._by_job.get(follower.job_id, set())
        same.discard(follower)
        if not same:
            self._by_job.pop(follower.job_id, None)

    async def read(self, follower: Follower, after: int) -> Page | None:
        """Return the next events behind a number; None if the job is not there. Raises StoreUnavailableError."""
        page = await self._store.events(follower.job_id, after)
        if page is not None:
            follower.seen = page.events[-1].number if page.events else max(page.job.trail.last, after)
        return page

    async def whole(self, follower: Follower) -> Job | None:
        """Return the job with its answer. Raises StoreUnavailableError."""
        return await self._store.get(follower.job_id)

    def wake(self, job_ids: Iterable[str]) -> None:
        """Have a look at jobs that have changed, here or at another bridge."""
        for job_id in job_ids:
            for follower in self._by_job.get(job_id, ()):
                follower.wake()

    async def poll(self) -> None:
        """Wake those for whom there is more in the store, whoever put it there. Raises StoreUnavailableError."""
        if not self._by_job:
            return
        heads = await self._store.heads(self._by_job.keys())
        for job_id, followers in self._by_job.items():
            last, final = heads.get(job_id, (0, True))
            for follower in followers:
                if final or last > follower.seen:
                    follower.wake()

    def end_all(self, outcome: End) -> None:
        """End all reading."""
        for followers in tuple(self._by_job.values()):
            for follower in tuple(followers):
                follower.end(outcome)
