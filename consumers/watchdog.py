"""Ends a worker that hangs, so that the broker hands its jobs on and whoever supervises it starts it again.

A handler can hang where nothing can interrupt it: a thread that never looks at ``request.cancelled``, a coroutine that
swallows its cancellation, one that blocks the loop. The broker waits for such a worker for ever as long as its
connection lives. So a thread of its own looks on: what it finds hung ends the process.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from consumers.answer import call_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from activemq.message import RequestMessage

log = logging.getLogger(__name__)

HUNG: Final = 70  # the exit code; EX_SOFTWARE of <sysexits.h>
GRACE: Final = 30.0  # seconds
TICK: Final = 1.0  # seconds between two looks, at most
LAST_WORDS: Final = 5.0  # seconds for the log; a standard error that nobody reads must not keep the process


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a worker waits for what should be over; seconds.

    ``grace``: for the loop to turn, and for a handler to end once its time is over. ``longest``: a handler's time,
    where it is shorter than its message's budget or there is none; None: as long as the budget.
    """

    grace: float = GRACE
    longest: float | None = None


@dataclass(eq=False, slots=True)
class Watched:
    """A handler that runs; ``left``: seconds until it is hung, None: never."""

    message: RequestMessage
    left: float | None


class Watchdog:
    """Looks after the handlers of one worker and its loop.

    It counts its own looks and no clock: a process that was stopped for a while, or a machine that slept, has not hung.
    """

    def __init__(self, patience: Patience, cut: Callable[[], None]) -> None:
        """``cut`` ends the connection to the broker; it is called from another thread, and must not wait."""
        self._patience = patience
        self._cut = cut
        self._running: dict[Watched, None] = {}
        self._silent = 0.0  # seconds since the loop has turned
        self._turned = True
        self._stopped = threading.Event()

    def begin(self, message: RequestMessage, remaining: float | None) -> Watched:
        """Look after a handler; give what is returned to :meth:`end`. ``remaining``: its message's budget, seconds."""
        times = [time for time in (remaining, self._patience.longest) if time is not None]
        watched = Watched(message, min(times) + self._patience.grace if times else None)
        self._running[watched] = None
        return watched

    def end(self, watched: Watched) -> None:
        """Forget a handler that has ended."""
        self._running.pop(watched, None)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to look, until :meth:`stop`."""
        threading.Thread(target=self._watch, args=(loop,), name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def look(self, passed: float) -> str | None:
        """Return what hangs, None if nothing does; ``passed``: seconds since the last look."""
        self._silent = 0.0 if self._turned else self._silent + passed
        self._turned = False
        if self._silent >= self._patience.grace:
            return f"the event loop has not turned for {self._silent:.0f} s: a handler blocks it"
        for watched in tuple(self._running):  # at once, under the interpreter's lock: the loop goes on meanwhile
            if watched.left is None:
                continue
            watched.left -= passed
            if watched.left <= 0:
                return (
                    f"call {call_of(watched.message)}: its handler has not ended {self._patience.grace:g} s after its "
                    "time was over"
                )
        return None

    def turned(self) -> None:
        """Take note that the loop turns; called on it."""
        self._turned = True

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        tick = min(TICK, self._patience.grace / 4)
        while not self._stopped.wait(tick):
            hung = self.look(tick)
            if hung is not None:
                self._end_process(hung)
            try:
                loop.call_soon_threadsafe(self.turned)
            except RuntimeError:  # it has been closed
                return

    def _end_process(self, hung: str) -> None:
        try:
            self._cut()
            words = threading.Thread(target=_say, args=(hung,), daemon=True)
            words.start()
            words.join(LAST_WORDS)
        finally:  # whatever else is wrong
            os._exit(HUNG)


def _say(hung: str) -> None:
    log.critical("%s; the worker ends with exit code %d, and the broker gives its jobs to others", hung, HUNG)
    faulthandler.dump_traceback(sys.__stderr__ or 2, all_threads=True)
