"""The store of jobs over one database."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, func, or_, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from bridge.jobs.model import GONE_FOR_MS, OPEN, Job, NewJob, State
from bridge.jobs.sql import reading
from bridge.jobs.sql.database import reason_of
from bridge.jobs.sql.migrate import HEAD, prepare, revision_of
from bridge.jobs.sql.operations import Create, Sent, Settle, Tell
from bridge.jobs.sql.rows import UNSENT, WHOLE_JOB, job_of, unsent_of
from bridge.jobs.sql.sqlite import SqliteDatabase
from bridge.jobs.sql.tables import bridges, early, events, greetings, jobs
from bridge.jobs.sql.writer import Writer
from bridge.jobs.store import StoreRefusedError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from bridge.jobs.model import Page, Unsent, Wanted
    from bridge.jobs.notices import Place
    from bridge.jobs.sql.database import Database
    from bridge.jobs.store import Judge
    from bridge.jobs.trail import Notice, Step

TIMEOUT: Final = 5.0  # seconds for a transaction, all told
_CLAIMED_AT_ONCE: Final = 100
_CLEANED_AT_ONCE: Final = 500
_ASKED_AT_ONCE: Final = 500
_OPEN: Final = sorted(state.value for state in OPEN)
_FINAL: Final = sorted(state.value for state in State if state not in OPEN)


class SqlStore:
    """See :class:`bridge.jobs.store.JobStore`, which this is one of. ``timeout`` in seconds, for each transaction."""

    def __init__(self, url: str, timeout: float = TIMEOUT) -> None:
        """Look at the URL only. Raises :class:`StoreRefusedError` for one that cannot be used."""
        self._database = _database(url, timeout)
        self._writer = Writer(self._database)
        self._id = ""

    @property
    def id(self) -> str:
        """See the interface."""
        return self._id

    @property
    def available(self) -> bool:
        """See the interface."""
        return bool(self._id) and self._database.available

    async def open(self) -> None:
        """See the interface."""
        try:
            self._id = await self._database.run(prepare, write=True)
        except DBAPIError as error:
            raise StoreRefusedError(f"the tables cannot be made or read: {reason_of(error)}") from error
        self._writer.start()

    async def look(self) -> str:
        """Say how the store is, for people, and change nothing: what opening it would make or upgrade is only told.

        Raises :class:`StoreUnavailableError`, and :class:`StoreRefusedError` for tables that a newer version has made.
        """
        missing = self._database.to_be_made()
        if missing:
            return f"{missing} is made at the first start"
        try:
            revision = await self._database.run(revision_of)
        except DBAPIError as error:
            raise StoreRefusedError(f"the tables cannot be read: {reason_of(error)}") from error
        if revision is None:
            return "it answers, and its tables are made at the first start"
        return "it answers" if revision == HEAD else "it answers, and its tables are upgraded at the next start"

    async def close(self) -> None:
        """See the interface."""
        await self._writer.stop()
        await self._database.close()

    async def probe(self) -> None:
        """See the interface."""
        await self._database.run(lambda connection: connection.execute(select(1)).scalar())

    # -- one job

    async def create(self, new: NewJob, now_ms: int) -> Job | None:
        """See the interface."""
        return await self._writer.submit(Create(new, now_ms))

    def sent(self, job_id: str, now_ms: int) -> asyncio.Future[None]:
        """See the interface."""
        return self._writer.submit_mark(Sent(job_id, now_ms))

    def settle(self, job_id: str, judge: Judge, now_ms: int) -> asyncio.Future[tuple[Job | None, bool]]:
        """See the interface."""
        return self._writer.submit(Settle(job_id, judge, now_ms))

    def tell(self, job_id: str, notice: Notice, now_ms: int) -> asyncio.Future[tuple[Job | None, Place]]:
        """See the interface."""
        return self._writer.submit(Tell(job_id, notice, now_ms))

    def pass_over(self, job_id: str, now_ms: int) -> asyncio.Future[tuple[Job | None, Place]]:
        """See the interface."""
        return self._writer.submit(Tell(job_id, None, now_ms))

    async def stuck(self, since_ms: int) -> Sequence[str]:
        """See the interface."""
        some = jobs.c.id.in_(select(early.c.job))  # seldom any: an index of their times would cost each job more
        query = select(jobs.c.id).where(some, jobs.c.early_ms <= since_ms).limit(_CLEANED_AT_ONCE)
        return await self._database.run(lambda connection: list(connection.execute(query).scalars()))

    async def events(self, job_id: str, after: int) -> Page | None:
        """See the interface."""
        return await self._database.run(lambda connection: reading.page_of(connection, job_id, after))

    async def heads(self, job_ids: Collection[str]) -> Mapping[str, tuple[int, bool]]:
        """See the interface."""
        found: dict[str, tuple[int, bool]] = {}
        for some in _some(job_ids):
            found |= await self._database.run(partial(reading.heads_of, ids=some))
        return found

    async def browse(self, wanted: Wanted, now_ms: int) -> Sequence[Job]:
        """See the interface."""
        return await self._database.run(lambda connection: reading.listed(connection, wanted, now_ms))

    async def timeline(self, job_id: str) -> tuple[Job, Sequence[Step]] | None:
        """See the interface."""
        return await self._database.run(lambda connection: reading.timeline_of(connection, job_id))

    async def get(self, job_id: str) -> Job | None:
        """See the interface."""
        found = await self._jobs(jobs.c.id == job_id)
        return found[0] if found else None

    async def by_key(self, caller: str, route: str, sha256: str) -> Job | None:
        """See the interface."""
        found = await self._jobs(and_(jobs.c.caller == caller, jobs.c.route == route, jobs.c.key_sha256 == sha256))
        return found[0] if found else None

    async def finals(self, job_ids: Collection[str]) -> Sequence[Job]:
        """See the interface."""
        found: list[Job] = []
        for some in _some(job_ids):
            found += await self._jobs(and_(jobs.c.id.in_(some), jobs.c.state.in_(_FINAL)))
        return found

    async def _jobs(self, condition: Any) -> list[Job]:  # noqa: ANN401 - any SQL expression
        query = WHOLE_JOB.where(condition)
        return await self._database.run(lambda connection: [job_of(row) for row in connection.execute(query)])

    # -- what bridges do for each other

    async def claim(
        self, owner: str, busy: Collection[str], now_ms: int, lease_ms: int, *, others: bool
    ) -> Sequence[Unsent]:
        """See the interface."""
        whose = [] if others else [jobs.c.owner == owner]
        left = and_(jobs.c.lease_ms < now_ms, jobs.c.sent_ms.is_(None), jobs.c.state == State.QUEUED.value, *whose)
        query = select(jobs.c.id).where(left).order_by(jobs.c.lease_ms).limit(_CLAIMED_AT_ONCE + len(busy))

        def work(connection: Connection) -> list[Unsent]:
            ids = [one for one in connection.execute(query.with_for_update()).scalars() if one not in busy]
            these = jobs.c.id.in_(ids[:_CLAIMED_AT_ONCE])
            connection.execute(jobs.update().where(these).values(owner=owner, lease_ms=lease_ms))
            return [unsent_of(row) for row in connection.execute(UNSENT.where(these))]

        if not await self._database.run(lambda connection: connection.execute(query.limit(1)).scalar()):
            return []  # the usual case takes no lock
        return await self._database.run(work, write=True)

    async def overdue(self, now_ms: int) -> Sequence[str]:
        """See the interface."""
        query = (
            select(jobs.c.id)
            .where(jobs.c.state.in_(_OPEN), jobs.c.deadline_ms <= now_ms)
            .order_by(jobs.c.deadline_ms)
            .limit(_CLEANED_AT_ONCE)
        )
        return await self._database.run(lambda connection: list(connection.execute(query).scalars()))

    async def clean(self, now_ms: int) -> int:
        """See the interface."""
        gone_ms = jobs.c.finished_ms + jobs.c.retention_ms + GONE_FOR_MS
        due = select(jobs.c.id).where(jobs.c.purge_ms <= now_ms).order_by(jobs.c.purge_ms).limit(_CLEANED_AT_ONCE)
        remembered = and_(jobs.c.state != State.REFUSED.value, gone_ms > now_ms)
        nothing = {"answer": None, "body": None, "key_sha256": None, "fingerprint": None, "progress": None}

        def work(connection: Connection) -> int:
            ids = list(connection.execute(due.with_for_update()).scalars())
            if ids:
                these = jobs.c.id.in_(ids)
                connection.execute(events.delete().where(events.c.job.in_(ids)))
                connection.execute(jobs.update().where(these, remembered).values(purge_ms=gone_ms, **nothing))
                connection.execute(jobs.delete().where(these, jobs.c.purge_ms <= now_ms))
            return len(ids)

        if not await self._database.run(lambda connection: connection.execute(due.limit(1)).scalar()):
            return 0  # the usual case takes no lock
        return await self._database.run(work, write=True)

    # -- who shares it

    async def join(self, bridge: str) -> Collection[str]:
        """See the interface."""

        def work(connection: Connection) -> set[str]:
            others = set(connection.execute(select(bridges.c.id).where(bridges.c.id != bridge)).scalars())
            connection.execute(bridges.delete().where(bridges.c.id == bridge))
            connection.execute(greetings.delete().where(greetings.c.joiner == bridge))
            connection.execute(bridges.insert().values(id=bridge, joining=int(bool(others))))
            return others

        return await self._database.run(work, write=True)

    async def greet(self, bridge: str) -> None:
        """See the interface."""
        greeted = select(greetings.c.joiner).where(greetings.c.greeter == bridge)
        joiners = select(bridges.c.id).where(
            bridges.c.joining == 1, bridges.c.id != bridge, bridges.c.id.not_in(greeted)
        )
        ids = await self._database.run(lambda connection: list(connection.execute(joiners).scalars()))
        if ids:
            rows = [{"joiner": joiner, "greeter": bridge} for joiner in ids]
            await self._database.run(lambda connection: connection.execute(greetings.insert(), rows), write=True)

    async def greeters(self, bridge: str) -> Collection[str]:
        """See the interface."""
        query = select(greetings.c.greeter).where(greetings.c.joiner == bridge)
        return await self._database.run(lambda connection: set(connection.execute(query).scalars()))

    async def settled_in(self, bridge: str) -> None:
        """See the interface."""
        await self._database.run(
            lambda connection: connection.execute(bridges.update().where(bridges.c.id == bridge).values(joining=0)),
            write=True,
        )

    async def forget_bridges(self, ids: Collection[str]) -> None:
        """See the interface."""

        def work(connection: Connection) -> None:
            connection.execute(bridges.delete().where(bridges.c.id.in_(ids)))
            either = or_(greetings.c.joiner.in_(ids), greetings.c.greeter.in_(ids))
            connection.execute(greetings.delete().where(either))

        if ids:
            await self._database.run(work, write=True)

    async def count(self) -> int:
        """Return how many jobs there are, cleaned ones included."""
        return await self._database.run(
            lambda connection: int(connection.execute(select(func.count()).select_from(jobs)).scalar_one())
        )


def _some(job_ids: Collection[str]) -> Iterator[Sequence[str]]:
    """Cut many ids into as many as one statement may name."""
    ids = list(job_ids)
    for start in range(0, len(ids), _ASKED_AT_ONCE):
        yield ids[start : start + _ASKED_AT_ONCE]


def _database(url: str, timeout: float) -> Database:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StoreRefusedError("store.url is not a URL of a database") from None
    if parsed.get_backend_name() == "sqlite":
        return SqliteDatabase(parsed, timeout)
    from bridge.jobs.sql.server import ServerDatabase  # noqa: PLC0415 - with an ORM, 7 MiB that SQLite does not need

    return ServerDatabase(parsed, timeout)
