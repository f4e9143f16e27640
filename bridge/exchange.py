"""The held calls of a process: correlation id → waiter, and exactly one outcome for each.

The heart of the bridge. It knows neither HTTP nor STOMP: a reply is whatever the owner says it is.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.wheel import Wheel

R = TypeVar("R")

log = logging.getLogger(__name__)

# A second task for each call, to see its caller leave, would cost 11 µs; most calls are over before it matters.
WATCH_AFTER: Final = 0.1  # seconds
_ID_BYTES: Final = 16
_IDS_AT_ONCE: Final = 64


class End(enum.Enum):
    """How a call ends without a reply."""

    DEADLINE = "deadline"
    UNCONFIRMED = "the broker did not confirm the message in time"
    BROKER_LOST = "the connection to the broker died"
    CALLER_GONE = "the caller went away"
    NO_WORKER = "nobody came to listen in time"
    READER_BEHIND = "the caller reads more slowly than the worker writes"
    BAD_PART = "a part of the answer cannot be sent"
    WORKER_LOST = "the worker was lost after a part of its answer was sent"


@dataclass(frozen=True, slots=True)
class Refused:
    """The broker would not take the message; ``error`` says why."""

    error: Exception


class Ending(Protocol):
    """What somebody waits for, and what can be ended from outside."""

    def end(self, outcome: End | Refused) -> bool:
        """End it; False if it has its outcome already."""
        ...


@dataclass(slots=True)
class Counts:
    """What has happened since the start. A call that was opened is answered, ended without a reply, or cancelled."""

    opened: int = 0
    answered: int = 0
    ended: int = 0
    stray_replies: int = 0


class Held(Generic[R]):
    """One held call, from :meth:`Exchange.open` to :meth:`Exchange.close`; await ``outcome``."""

    __slots__ = (
        "_exchange",
        "_watch",
        "attempt",
        "confirm_by",
        "correlation_id",
        "deadline",
        "on_notice",
        "outcome",
        "slot",
    )

    def __init__(
        self,
        exchange: Exchange[R],
        correlation_id: str,
        deadline: float,
        confirm_by: float,
        watch: Callable[[Held[R]], None] | None,
        outcome: asyncio.Future[R | End | Refused],
    ) -> None:
        self.correlation_id = correlation_id
        self.deadline = deadline
        self.confirm_by = confirm_by
        self.outcome = outcome
        self.slot = 0
        self.attempt = 0  # the highest that a worker said it had begun
        self.on_notice: Callable[[R], None] | None = None  # for callers who want more than the reply
        self._exchange = exchange
        self._watch = watch

    def end(self, outcome: End | Refused) -> bool:
        """End it without a reply; False if it has its outcome already."""
        if self.outcome.done():
            return False
        self.outcome.set_result(outcome)
        self._exchange.counts.ended += 1
        return True

    def due(self, now: float) -> None:
        """Look at the time: begin to watch the caller, give up on the broker's receipt, give up on the reply."""
        if now >= self.deadline:
            self.end(End.DEADLINE)
        elif now >= self.confirm_by:
            self.end(End.UNCONFIRMED)
        else:
            watch, self._watch = self._watch, None
            if watch is not None:
                watch(self)
            self._exchange.wheel.put(min(self.deadline, self.confirm_by), self)


class Exchange(Generic[R]):
    """All held calls. One loop, no locks."""

    def __init__(self, wheel: Wheel) -> None:
        self.wheel = wheel
        self.counts = Counts()
        self._held: dict[str, Held[R]] = {}
        self._random = ""
        self._used = 0

    def __len__(self) -> int:
        return len(self._held)

    def new_id(self) -> str:
        """Return 128 random bits as 32 lower-case hex digits: nobody can guess another's, or be given an old one."""
        at = self._used
        if at == len(self._random):
            self._random = os.urandom(_ID_BYTES * _IDS_AT_ONCE).hex()  # one system call for many calls
            at = 0
        self._used = at + 2 * _ID_BYTES
        return self._random[at : self._used]

    def open(
        self,
        correlation_id: str,
        now: float,
        deadline: float,
        confirm_by: float,
        watch: Callable[[Held[R]], None] | None = None,
    ) -> Held[R]:
        """Begin to wait. All times are the loop's, in seconds.

        ``watch`` is called once the call is a tenth of a second old: it should see to it that ``end`` is called with
        :attr:`End.CALLER_GONE` when the caller leaves. Every open() needs its close().
        """
        held = Held(self, correlation_id, deadline, confirm_by, watch, asyncio.get_running_loop().create_future())
        self._held[correlation_id] = held
        self.wheel.put(min(now + WATCH_AFTER, deadline), held)
        self.counts.opened += 1
        return held

    def close(self, held: Held[R]) -> None:
        """Forget the call; its id is used up. Nothing of an answered call is kept."""
        self._held.pop(held.correlation_id, None)
        self.wheel.drop(held)

    def waits(self, correlation_id: str) -> bool:
        """Whether somebody still waits under this id."""
        held = self._held.get(correlation_id)
        return held is not None and not held.outcome.done()

    def reply(self, correlation_id: str, reply: R) -> bool:
        """Hand a reply to its call. False, and counted, if nobody waits for it (unknown, used up, or too late)."""
        held = self._held.get(correlation_id)
        if held is None or held.outcome.done():
            self.counts.stray_replies += 1
            return False
        held.outcome.set_result(reply)
        self.counts.answered += 1
        return True

    def notice(self, correlation_id: str, attempt: int, notice: R) -> bool:
        """Hand over what a worker says before its reply; False if nobody waits for that any more.

        A notice that cannot be dealt with is the end of its own call, and of nothing else.
        """
        held = self._held.get(correlation_id)
        if held is None or held.outcome.done():
            return False
        if attempt >= held.attempt:  # an earlier one's worker was given up
            held.attempt = attempt
            if held.on_notice is not None:
                try:
                    held.on_notice(notice)
                except Exception:
                    log.exception("call %s: a notice of its worker cannot be passed on", correlation_id)
                    held.end(End.BAD_PART)
        return True

    def attempt_of(self, correlation_id: str) -> int:
        """Return the highest attempt that has begun, as far as workers told; else 0."""
        held = self._held.get(correlation_id)
        return 0 if held is None else held.attempt

    def confirm(self, correlation_id: str) -> None:
        """Note that the broker has the message."""
        held = self._held.get(correlation_id)
        if held is not None:
            held.confirm_by = held.deadline

    def end(self, correlation_id: str, outcome: End | Refused) -> None:
        """End one call without a reply."""
        held = self._held.get(correlation_id)
        if held is not None:
            held.end(outcome)

    def end_all(self, outcome: End) -> int:
        """End all calls without a reply; return how many."""
        return sum(held.end(outcome) for held in tuple(self._held.values()))
