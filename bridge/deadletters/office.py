"""What an operator may do with dead letters: count them, look at them, make new jobs of them, throw them away.

Each of these is one visit to the broker on a connection of its own, and there is one visit at a time: what visits hold
is bounded, and two replays of one letter come one after the other.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from activemq.deadletters import HeldError, Visit
from activemq.errors import ActiveMQError, ConnectFailedError, ServerError
from activemq.message import POISON
from bridge.deadletters.letter import Letter, LetterId, letter_of, may_look_into
from bridge.deadletters.replaying import replay_of
from bridge.jobs.making import new_job
from bridge.jobs.model import key_of
from bridge.problems import Problem, retry_later
from bridge.translate import invalid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from activemq import Client, Frame
    from activemq.brokers import Profile
    from bridge.deadletters.replaying import Replay
    from bridge.jobs.model import Job
    from bridge.jobs.service import JobService
    from bridge.routing import ServedRoute

log = logging.getLogger(__name__)

MOST_COUNTED: Final = 1_000  # of one queue
MOST_ON_A_PAGE: Final = 200
COUNT_WITHIN: Final = 20.0  # seconds, for all queues together
TURN_WITHIN: Final = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class Shelf:
    """A queue of dead letters. ``routes``: whose they are, by name; ``count``: how many the broker showed at least.

    ``more``: whether there may be more than that.
    """

    queue: str
    kind: str
    routes: tuple[str, ...]
    count: int
    more: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Some letters of a queue, from its head on; ``next``: the id after which the next page begins.

    ``now_ms``: the broker's time, epoch ms, before they were read.
    """

    now_ms: int
    letters: tuple[Letter, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Opened:
    """A letter with all that is in it; ``body`` None: it is over ``broker.max_frame``."""

    letter: Letter
    headers: dict[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Replayed:
    """The job that was made of a letter; ``removed``: whether the broker has confirmed that the letter is gone."""

    job: Job
    removed: bool


class DeadLetters:
    """The dead letters of one bridge's broker.

    ``new_client`` makes a client that is not started and keeps at most so many bytes of a body; ``routes`` are those of
    the moment. All methods raise :class:`Problem`: ``broker-unavailable``, ``dead-letter-busy``, ``no-dead-letter``.
    """

    def __init__(
        self,
        new_client: Callable[[int | None], Client],
        routes: Callable[[], Iterable[ServedRoute]],
        jobs: JobService,
        new_id: Callable[[], str],
        publish_timeout: float,
        retention_ms: int,
    ) -> None:
        self._new_client = new_client
        self._routes = routes
        self._jobs = jobs
        self._new_id = new_id
        self._publish_timeout = publish_timeout
        self._retention_ms = retention_ms
        self._turn = asyncio.Lock()

    async def shelves(self) -> list[Shelf]:
        """Return the queues of all routes, also the empty ones."""
        owners: dict[str, list[str]] = {}
        for route in self._routes():
            owners.setdefault(route.settings.queue, []).append(route.settings.name)
        async with self._visit(0) as visit:
            until = asyncio.get_running_loop().time() + COUNT_WITHIN
            return [
                Shelf(queue, kind, names, *await self._count(visit, queue, until))
                for queue, kind, names in _shelves_of(owners, visit.profile)
            ]

    async def _count(self, visit: Visit, queue: str, until: float) -> tuple[int, bool]:
        seen = 0

        def one_more(_: Frame) -> bool:
            nonlocal seen
            seen += 1
            return seen >= MOST_COUNTED

        left = until - asyncio.get_running_loop().time()
        if left <= 0:
            return 0, True
        whole = await visit.look(queue, one_more, most=MOST_COUNTED, timeout=left)
        shown = visit.profile.shows_at_most
        return seen, not whole or (shown is not None and seen >= shown)

    async def page(self, queue: str, after: str | None, limit: int) -> Page:
        """Return at most ``limit`` letters of a queue, those behind ``after`` (an id), or from the head on.

        Raises also ``no-dead-letter`` if ``after`` is not there any more: nobody knows then where the page would begin.
        """
        behind = None if after is None else LetterId.parse(after)
        if behind is not None and behind.queue != queue:
            raise invalid("after", "is of another queue")
        async with self._visit(0) as visit:
            profile = visit.profile
            if not may_look_into(queue, profile):
                raise invalid("queue", f"{queue[:200]!r} holds no dead letters: NAME{POISON} does, or the broker's own")
            now_ms = visit.client.clock.now_ms()
            reader = _PageReader(queue, profile, None if behind is None else behind.name, limit)
            await visit.look(queue, reader.read, most=MOST_COUNTED)
        if reader.waits_for is not None:
            raise _gone("the letter after which the page was to begin is not there any more; begin again without it")
        letters = reader.letters
        return Page(now_ms, tuple(letters[:limit]), letters[limit - 1].id if len(letters) > limit else None)

    async def open(self, letter_id: str) -> Opened:
        """Return one letter with its headers and its body; it stays where it is."""
        wanted = LetterId.parse(letter_id)
        found: list[Frame] = []

        def first(frame: Frame) -> bool:
            found.append(frame)
            return True

        async with self._visit(None) as visit:
            _check(wanted, visit.profile)
            await visit.look(wanted.queue, first, most=MOST_COUNTED, only=wanted.name)
            if not found:
                raise _gone()
            frame = found[0]
            letter = letter_of(frame, wanted.queue, visit.profile)
        return Opened(letter, _headers_of(frame), None if frame.oversize else frame.body)

    async def replay(self, letter_id: str) -> Replayed:
        """Make a new job of a letter, then take it away.

        The job is in the store and its message is the broker's before the letter goes: if anything dies in between the
        letter is still there. It is known by its id, so that to replay it again finds the job that was made of it, at
        whichever bridge of the store. Raises also ``not-replayable``, and what :meth:`JobService.submit` raises.
        """
        wanted = LetterId.parse(letter_id)
        async with self._visit(None) as visit:
            frame = await self._take(visit, wanted)
            replay = replay_of(frame, wanted.queue, visit.profile, self._routes())
            job = await self._make_job(wanted, replay)
            try:
                await visit.remove(frame)
            except ActiveMQError as error:
                log.warning("dead letter %s: replayed as job %s, and perhaps still there (%s)", wanted, job.id, error)
                return Replayed(job, removed=False)
        log.info("dead letter %s: replayed as job %s", wanted, job.id)
        return Replayed(job, removed=True)

    async def _make_job(self, letter: LetterId, replay: Replay) -> Job:
        # With a NUL: no caller's Idempotency-Key can be this.
        key = key_of(f"\0 {letter}".encode(), "REPLAY", str(letter), replay.request.body)
        job = new_job(
            replay.route,
            self._new_id(),
            caller=replay.caller,
            path=replay.target.partition("?")[0],
            now_ms=self._jobs.now_ms(),
            retention_ms=self._retention_ms,
            key=key,
        )
        submitted = await self._jobs.submit(job, replay.request)
        return await self._jobs.confirmed(submitted, self._publish_timeout)

    async def drop(self, letter_id: str) -> None:
        """Throw a letter away. A ``broker-unavailable`` with ``maybe`` means that nobody knows whether it is gone."""
        wanted = LetterId.parse(letter_id)
        async with self._visit(0) as visit:
            frame = await self._take(visit, wanted)
            try:
                await visit.remove(frame)
            except ActiveMQError as error:
                log.warning("dead letter %s: perhaps dropped (%s)", wanted, error)
                raise retry_later("broker-unavailable", "the broker did not confirm that it is gone", "maybe") from None
        log.info("dead letter %s: dropped", wanted)

    @staticmethod
    async def _take(visit: Visit, wanted: LetterId) -> Frame:
        _check(wanted, visit.profile)
        frame = await visit.take(wanted.queue, wanted.name)
        if frame is None:
            raise _gone()
        return frame

    @asynccontextmanager
    async def _visit(self, max_body: int | None) -> AsyncIterator[Visit]:
        try:
            async with asyncio.timeout(TURN_WITHIN):
                await self._turn.acquire()
        except TimeoutError:
            raise Problem("dead-letter-busy", "others look at dead letters here at the moment") from None
        try:
            async with Visit(self._new_client(max_body)) as visit:
                yield visit
        except HeldError:
            raise Problem("dead-letter-busy", "somebody else holds this dead letter at the moment") from None
        except ServerError as error:
            log.error("dead letters: %s", error)  # noqa: TRY400 - it says all
            raise retry_later("broker-unavailable", "the broker refuses this; the log has its reason") from None
        except ConnectFailedError as error:
            log.warning("dead letters: %s", error)
            raise retry_later("broker-unavailable", "there is no connection to the broker") from None
        except ActiveMQError as error:
            log.warning("dead letters: %s", error)
            raise retry_later("broker-unavailable", "the connection for dead letters was lost") from None
        finally:
            self._turn.release()


class _PageReader:
    """Reads one page, and one letter more, so that it is known whether there is a next page."""

    def __init__(self, queue: str, profile: Profile, waits_for: str | None, limit: int) -> None:
        self.letters: list[Letter] = []
        self.waits_for = waits_for
        self._queue = queue
        self._profile = profile
        self._limit = limit

    def read(self, frame: Frame) -> bool:
        if self.waits_for is not None:
            if self._profile.letter_name(frame) == self.waits_for:
                self.waits_for = None
            return False
        self.letters.append(letter_of(frame, self._queue, self._profile))
        return len(self.letters) > self._limit


def _shelves_of(owners: dict[str, list[str]], profile: Profile) -> list[tuple[str, str, tuple[str, ...]]]:
    shelves = {queue + POISON: ("poison", tuple(names)) for queue, names in owners.items()}
    own = {queue: profile.dead_letters([queue]) for queue in owners}
    for queue in profile.dead_letters(list(owners)):
        names = [name for owner, queues in own.items() if queue in queues for name in owners[owner]]
        shelves.setdefault(queue, ("dead", tuple(names)))
    return [(queue, kind, names) for queue, (kind, names) in shelves.items()]


def _headers_of(frame: Frame) -> dict[str, str]:
    """Return the headers of a letter, without those of this look at it."""
    try:
        headers = frame.headers
    except ActiveMQError:
        return {}
    return {name: value for name, value in headers.items() if name not in ("ack", "subscription")}


def _check(wanted: LetterId, profile: Profile) -> None:
    if not may_look_into(wanted.queue, profile):
        raise _gone()


def _gone(detail: str = "there is no dead letter of this id, or the broker does not show it") -> Problem:
    return Problem("no-dead-letter", detail)
