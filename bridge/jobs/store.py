"""What the bridge asks of a store of jobs, whatever is behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection, Mapping, Sequence

    from bridge.jobs.model import Job, NewJob, Page, Settlement, Unsent, Wanted
    from bridge.jobs.notices import Place
    from bridge.jobs.trail import Notice, Step

    Judge = Callable[[Job], Settlement | None]


class StoreUnavailableError(Exception):
    """The store did not answer, or could not write, in time; what was asked may or may not have been done."""


class StoreRefusedError(Exception):
    """A store that this bridge may not use; the text says why and what to do."""


class JobStore(Protocol):
    """Jobs, kept. Every method but :meth:`open` raises :class:`StoreUnavailableError`, in bounded time.

    What is true after a method has returned survives the death of the process and of the machine.
    """

    @property
    def id(self) -> str:
        """The store's own random id, made with it: 16 hex digits. Only once it is open."""
        ...

    @property
    def available(self) -> bool:
        """Whether the last attempt to reach it went well."""
        ...

    async def open(self) -> None:
        """Make or upgrade the tables. Raises also :class:`StoreRefusedError`."""
        ...

    async def close(self) -> None:
        """Write what is waiting, and leave."""
        ...

    async def probe(self) -> None:
        """Find out whether it answers (again)."""
        ...

    async def create(self, new: NewJob, now_ms: int) -> Job | None:
        """Keep a new job. Returns None, or the job that has its key already, which is then as it was."""
        ...

    def sent(self, job_id: str, now_ms: int) -> asyncio.Future[None]:
        """Note that the broker has the message, and drop the request."""
        ...

    def settle(self, job_id: str, judge: Judge, now_ms: int) -> asyncio.Future[tuple[Job | None, bool]]:
        """Have a job become what ``judge`` makes of it, if it may; the first final state wins, None changes nothing.

        The result is the job as it is then, None if there is none, and whether it is this call that changed it.
        """
        ...

    def tell(self, job_id: str, notice: Notice, now_ms: int) -> asyncio.Future[tuple[Job | None, Place]]:
        """Note what a worker says of its job.

        If its place is ``NEXT`` it becomes events, and so does what waited for it; if it is ``EARLY`` it is kept, and
        waits for those before it.
        """
        ...

    def pass_over(self, job_id: str, now_ms: int) -> asyncio.Future[tuple[Job | None, Place]]:
        """Have what waits for its turn become events whatever is missing; ``NEXT`` if there was something."""
        ...

    async def stuck(self, since_ms: int) -> Sequence[str]:
        """Return ids of jobs of which something waits for its turn since before this time, at most 500."""
        ...

    async def events(self, job_id: str, after: int) -> Page | None:
        """Return the next events of a job behind the one of this number, 256 KiB at most; None if there is no job.

        If there are none and the job of the page is final, there will never be any.
        """
        ...

    async def heads(self, job_ids: Collection[str]) -> Mapping[str, tuple[int, bool]]:
        """Return how far jobs have come: the number of the last event, and whether they are final."""
        ...

    async def browse(self, wanted: Wanted, now_ms: int) -> Sequence[Job]:
        """Return jobs for their operator, the newest first, without their answers."""
        ...

    async def timeline(self, job_id: str) -> tuple[Job, Sequence[Step]] | None:
        """Return a job, and what is kept of its events."""
        ...

    async def get(self, job_id: str) -> Job | None:
        """Return one job with its answer."""
        ...

    async def by_key(self, caller: str, route: str, sha256: str) -> Job | None:
        """Return the job that has an Idempotency-Key."""
        ...

    async def finals(self, job_ids: Collection[str]) -> Sequence[Job]:
        """Return those of the jobs that are final, with their answers."""
        ...

    async def claim(
        self, owner: str, busy: Collection[str], now_ms: int, lease_ms: int, *, others: bool
    ) -> Sequence[Unsent]:
        """Take over jobs whose message was not confirmed before their lease was over, at most 100 at once.

        Only ``owner``'s own unless ``others``; none that are ``busy``. Nobody else may have them before ``lease_ms``.
        """
        ...

    async def overdue(self, now_ms: int) -> Sequence[str]:
        """Return ids of open jobs whose deadline is over, the oldest first, at most 500."""
        ...

    async def clean(self, now_ms: int) -> int:
        """Drop results and events after their retention, and the memory of them after 7 days more; return how many."""
        ...

    async def join(self, bridge: str) -> Collection[str]:
        """Write a bridge down as one that wants to use this store; return the others that are written down."""
        ...

    async def greet(self, bridge: str) -> None:
        """Say to all who want to join that this bridge is alive and connected."""
        ...

    async def greeters(self, bridge: str) -> Collection[str]:
        """Return who has greeted this bridge since it joined."""
        ...

    async def settled_in(self, bridge: str) -> None:
        """Note that a bridge that joined needs no more greetings."""
        ...

    async def forget_bridges(self, bridges: Collection[str]) -> None:
        """Strike bridges off: they have left, or died."""
        ...
