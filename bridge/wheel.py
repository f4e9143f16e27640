"""One coarse clock for all deadlines of a process.

A timer object for each call costs 1 to 6 µs of CPU; a place in a bucket that is looked at every 50 ms costs a
fraction of one (docs/performance.md). Nothing is due early; it is due at most a tick late.
"""

from __future__ import annotations

import asyncio
import logging
from math import ceil
from typing import TYPE_CHECKING, Final, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType

log = logging.getLogger(__name__)

TICK: Final = 0.05  # seconds


class Timed(Protocol):
    """What can be put on the wheel; ``slot`` belongs to the wheel."""

    slot: int

    def due(self, now: float) -> None:
        """Be told that the time has come; ``now`` is the loop's time in seconds."""
        ...


class Wheel:
    """Buckets of things that are due within the same tick."""

    def __init__(self, tick: float = TICK) -> None:
        self._tick = tick
        self._buckets: dict[int, set[Timed]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last = 0

    def start(self) -> None:
        """Begin to turn, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._last = int(self._loop.time() / self._tick)
        self._timer = self._loop.call_later(self._tick, self._turn)

    def stop(self) -> None:
        """Stand still; what is on the wheel stays there."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def put(self, when: float, what: Timed) -> None:
        """Have ``what.due`` called at ``when`` (the loop's time, seconds) or up to a tick later; once.

        A time that is over already is due at the next tick.
        """
        slot = ceil(when / self._tick)
        if slot < self._last:  # no turn would come to it again
            slot = self._last
        what.slot = slot
        bucket = self._buckets.get(slot)
        if bucket is None:
            self._buckets[slot] = {what}
        else:
            bucket.add(what)

    def drop(self, what: Timed) -> None:
        """Take it off again; no harm if it is not there."""
        bucket = self._buckets.get(what.slot)
        if bucket is not None:
            bucket.discard(what)
            if not bucket:
                del self._buckets[what.slot]

    def advance(self, now: float) -> None:
        """Call whatever is due at ``now``. What they put on the wheel for now or earlier waits for the next tick."""
        current = int(now / self._tick)
        last, self._last = self._last, current
        slots: list[int] | range = range(last, current + 1)
        if len(slots) > len(self._buckets):  # after a long pause, or when there is little to do
            slots = sorted(slot for slot in self._buckets if slot <= current)
        # All are taken off before the first is told: what they put on meanwhile is not of this turn.
        due = [self._buckets.pop(slot) for slot in slots if slot in self._buckets]
        for bucket in due:
            for what in bucket:
                try:
                    what.due(now)
                except Exception:
                    log.exception("a defect in %r, which was due", what)  # and the others still have their time

    def timeout(self, seconds: float) -> Timeout:
        """Bound a block of code, as ``asyncio.timeout`` does: raises TimeoutError when it takes longer."""
        return Timeout(self, seconds)

    def _turn(self) -> None:
        loop = self._loop
        assert loop is not None  # noqa: S101 - set by start(), which scheduled this
        self._timer = loop.call_later(self._tick, self._turn)
        self.advance(loop.time())


class Timeout:
    """Made by :meth:`Wheel.timeout`. It cancels the task it was entered in, and takes that back as a TimeoutError."""

    __slots__ = ("_expired", "_seconds", "_task", "_wheel", "slot")

    def __init__(self, wheel: Wheel, seconds: float) -> None:
        self.slot = 0
        self._wheel = wheel
        self._seconds = seconds
        self._expired = False
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._wheel.put(asyncio.get_running_loop().time() + self._seconds, self)
        return self

    def due(self, now: float) -> None:  # noqa: ARG002 - see Timed
        self._expired = True
        if self._task is not None:
            self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._wheel.drop(self)
        # As asyncio.timeout: only if no one else has cancelled the task too.
        if self._expired and self._task is not None and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TimeoutError from error
