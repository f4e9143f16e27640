"""What a job is and how it may change. Pure: no HTTP, no STOMP, no SQL.

All times are epoch ms in the broker's time, which is the same for all bridges.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bridge.jobs.trail import Event, Trail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_CALLER: Final = 255  # characters of a caller's name
DAY_MS: Final = 24 * 3_600 * 1_000
GONE_FOR_MS: Final = 7 * DAY_MS  # how long a job that was cleaned away is still known to have been (docs/http.md)


class State(enum.Enum):
    """Where a job is in its life.

    ``REFUSED`` is not in the contract: its message was never taken, so nobody was told of a job. The record is kept
    for a moment, for callers who had joined it.
    """

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REFUSED = "refused"


_ENDS: Final = frozenset({State.DONE, State.FAILED, State.EXPIRED, State.CANCELLED})
# What each state may become. The first final state wins: there is no way out of one.
TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.QUEUED: _ENDS | {State.RUNNING, State.REFUSED},
    State.RUNNING: _ENDS | {State.RUNNING},  # again: another attempt
    State.DONE: frozenset(),
    State.FAILED: frozenset(),
    State.EXPIRED: frozenset(),
    State.CANCELLED: frozenset(),
    State.REFUSED: frozenset(),
}
OPEN: Final = frozenset(state for state, ways in TRANSITIONS.items() if ways)
REFUSED_FOR_MS: Final = 5 * 60 * 1_000  # longer than any caller who had joined polls for it


def may_become(now: State, then: State) -> bool:
    """Say whether a job in state ``now`` may go over to ``then``."""
    return then in TRANSITIONS[now]


@dataclass(frozen=True, slots=True)
class Failure:
    """A problem as the answer of a job: a row of the error table and what it says this time."""

    problem: str
    detail: str
    ran: str
    extra: Mapping[str, object] = field(default_factory=dict)
    retry_after: str | None = None  # seconds


@dataclass(frozen=True, slots=True)
class Reply:
    """A worker's reply as the answer of a job; ``headers`` include its Content-Type."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)
    queue_ms: float | None = None
    work_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a job becomes: its state, and its answer if that state has one of its own."""

    state: State
    answer: Reply | Failure | None = None
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """An Idempotency-Key: SHA-256 of the key itself, and of the request that came with it."""

    sha256: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Request:
    """A job's request message, with all that any bridge needs to send it; dropped once the broker has it."""

    queue: str
    priority: int
    properties: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    text: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What is needed to read a job's replies, at whichever bridge: the route's ``max_reply`` (bytes) and pass-list.

    ``kinds``: what its workers were asked to say before the final reply; ``tells``: all of them say when they begin.
    """

    max_reply: int
    returns: tuple[tuple[str, str], ...]  # property, header
    kinds: tuple[str, ...] = ()
    tells: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the store has it.

    ``path`` is the path that was called, ``progress`` the last that the worker of this attempt told, as JSON.
    """

    id: str
    caller: str
    route: str
    path: str
    rules: Rules
    created_ms: int
    deadline_ms: int
    retention_ms: int
    state: State = State.QUEUED
    key: Key | None = None
    sent_ms: int | None = None
    started_ms: int | None = None
    finished_ms: int | None = None
    attempts: int = 0
    answer: Reply | Failure | None = None
    trail: Trail = field(default_factory=Trail)
    progress: bytes | None = field(default=None, repr=False)

    @property
    def is_final(self) -> bool:
        """Whether nothing can change any more."""
        return self.state not in OPEN

    @property
    def is_refused(self) -> bool:
        """Whether it never came to be a job: its message was not taken."""
        return self.state is State.REFUSED

    @property
    def keep_until_ms(self) -> int | None:
        """When its result is cleaned away; None while it is open."""
        if self.finished_ms is None:
            return None
        return self.finished_ms + (REFUSED_FOR_MS if self.is_refused else self.retention_ms)

    def is_kept(self, now_ms: int) -> bool:
        """Whether its result is still there for those who ask."""
        until = self.keep_until_ms
        return until is None or now_ms < until

    def is_remembered(self, now_ms: int) -> bool:
        """Whether it is still known to have been: 410, not 404."""
        until = self.keep_until_ms
        return until is None or (not self.is_refused and now_ms < until + GONE_FOR_MS)


@dataclass(frozen=True, slots=True)
class Page:
    """Some events of a job, and the job without its answer; ``lost_chunk`` as in :class:`Trail`."""

    job: Job
    lost_chunk: int
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs an operator wants to see: at most ``limit``, the newest first.

    ``before``: when the last one of the page before was made, and its id.
    """

    limit: int
    state: State | None = None
    route: str | None = None
    before: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be made, and the bridge that is about to send it: others keep their hands off until ``lease_ms``."""

    job: Job
    request: Request
    owner: str
    lease_ms: int


@dataclass(frozen=True, slots=True)
class Unsent:
    """A job whose message the broker has not confirmed."""

    job: Job
    request: Request


def key_of(key: bytes, method: str, target: str, body: bytes) -> Key:
    """Return what is stored of an Idempotency-Key; ``key`` without quotes."""
    digest = hashlib.sha256()
    for part in (method.encode(), target.encode(), body):
        digest.update(b"%d:" % len(part))  # so that no two requests run into the same bytes
        digest.update(part)
    return Key(hashlib.sha256(key).hexdigest(), digest.hexdigest())
