"""Whether another call is taken: the limits of the bridge and of each route, and draining."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from bridge.backlog import retry_after, time_to_drain
from bridge.exchange import End
from bridge.problems import Problem, retry_later

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.access import Principal
    from bridge.exchange import Ending
    from bridge.routing import ServedRoute

NO_RATE: Final = 5.0  # seconds to come back in when nothing at all is answered


class Admission:
    """Counts what is held. ``max_held`` calls, ``max_memory`` bytes of bodies being read or written.

    ``rate``: answers per second, of all routes.
    """

    def __init__(self, max_held: int, max_memory: int, rate: Callable[[], float] = lambda: 0.0) -> None:
        self.held = 0
        self.memory = 0
        self.draining = False
        self._max_held = max_held
        self._max_memory = max_memory
        self._rate = rate
        self._pages: set[Ending] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def enter(self, route: ServedRoute, principal: Principal, now: float) -> None:
        """Take a call in, or raise :class:`Problem`; every enter needs its leave. ``now``: the loop's time, seconds."""
        if self.draining:
            raise retry_later("draining", "this bridge takes no new calls")
        principal.check_held()
        principal.check_rate(now)
        if self.held >= self._max_held:
            raise self._full(f"this bridge holds {self.held} calls, its limit")
        counts = route.counts
        if counts.held >= route.settings.max_held:
            after = retry_after(time_to_drain(counts.held, route.queue.pace.rate(), route.settings.timeout))
            raise retry_later("route-full", f"this route holds {counts.held} calls, its limit", after=after)
        self.held += 1
        counts.held += 1
        principal.held += 1

    def leave(self, route: ServedRoute, principal: Principal) -> None:
        """Let a call go."""
        self.held -= 1
        route.counts.held -= 1
        principal.held -= 1
        if self.draining and not self.held:
            self._empty.set()

    def check_page(self, principal: Principal) -> None:
        """Raise :class:`Problem` if no page more can be held."""
        principal.check_held()
        if self.held >= self._max_held:
            raise self._full(f"this bridge holds {self.held} calls, its limit")

    def enter_page(self, held: Ending, principal: Principal) -> None:
        """Count one of our own pages that is held; draining ends the wait, since it can be asked for again."""
        self.held += 1
        principal.held += 1
        self._pages.add(held)
        if self.draining:
            held.end(End.DEADLINE)

    def leave_page(self, held: Ending, principal: Principal) -> None:
        """Let a page go."""
        self._pages.discard(held)
        self.held -= 1
        principal.held -= 1
        if self.draining and not self.held:
            self._empty.set()

    def reserve(self, size: int) -> None:
        """Set aside memory for ``size`` bytes of a body, or raise :class:`Problem`; give it back with release."""
        if self.memory + size > self._max_memory:
            raise self._full("this bridge holds too many bytes of bodies")
        self.memory += size

    def _full(self, detail: str) -> Problem:
        after = retry_after(time_to_drain(self.held, self._rate(), NO_RATE))
        return retry_later("bridge-full", detail, after=after)

    def release(self, size: int) -> None:
        """Give memory back."""
        self.memory -= size

    async def drain(self, timeout: float) -> int:
        """Take nothing new and wait, for at most ``timeout`` seconds, until nothing is held; return what still is."""
        self.draining = True
        for held in self._pages:
            held.end(End.DEADLINE)
        if self.held:
            self._empty.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._empty.wait()
            except TimeoutError:
                pass  # what is still held is returned, for the owner to say so
        return self.held
