"""Two bridges that share a store must share its broker too, or replies of one's jobs would never come to the other.

STOMP has no name for a broker that all kinds of brokers have and keep, so the bridges find out from each other. A
newcomer writes itself down in the store and says "hello" on the wake topic; each bridge that is there answers twice:
in the store, once it is connected to its broker, and with a "welcome" on the topic. Who answers in the store but is
not heard on the topic is at another broker. Who answers nowhere is dead.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from bridge.jobs.store import StoreRefusedError

if TYPE_CHECKING:
    from bridge.jobs.link import JobLink
    from bridge.jobs.store import JobStore

log = logging.getLogger(__name__)

GREET_EVERY: Final = 1.0  # seconds: how often each bridge looks for newcomers
_DEAD_AFTER: Final = 3 * GREET_EVERY  # seconds without a greeting
_DEAF_AFTER: Final = 2.0  # seconds between a greeting in the store and the word that did not come
_STEP: Final = 0.1  # seconds
_REFUSED: Final = (
    "another bridge uses this store with another broker, and its workers' replies would never come here: name the "
    "same broker in broker.urls, or another store in store.url"
)


class Membership:
    """One bridge among those of its store; ``name`` is its own, made for this run."""

    def __init__(self, store: JobStore, link: JobLink, name: str) -> None:
        self._store = store
        self._link = link
        self._name = name
        self._welcomed: set[str] = set()

    async def join(self) -> None:
        """Return once this bridge may use the store. Raises :class:`StoreRefusedError`, StoreUnavailableError."""
        await self._link.client.wait_connected()
        others = set(await self._store.join(self._name))
        if others:
            log.info("the store knows %d other bridges: asking whether they are at this broker", len(others))
            try:
                await self._meet(others)
            except StoreRefusedError:
                await self.leave()
                raise
            await self._store.settled_in(self._name)

    async def leave(self) -> None:
        """Strike this bridge off. Raises :class:`StoreUnavailableError`."""
        await self._store.forget_bridges([self._name])

    async def greet(self) -> None:
        """Answer newcomers in the store, if there are any and our broker is there."""
        if self._link.client.connected:
            await self._store.greet(self._name)

    def heard(self, word: str, to: str, by: str) -> None:
        """Take a word from the topic."""
        if by == self._name:
            return
        if word == "hello":
            self._link.say("welcome", by, self._name)
        elif word == "welcome" and to == self._name:
            self._welcomed.add(by)

    async def _meet(self, others: set[str]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        greeted: dict[str, float] = {}  # who, when
        while not others <= self._welcomed:
            if not self._link.client.connected:
                await self._link.client.wait_connected()
                greeted.clear()
                began = loop.time()
            self._link.say("hello", "all", self._name)
            await asyncio.sleep(_STEP)
            now = loop.time()
            for bridge in await self._store.greeters(self._name):
                greeted.setdefault(bridge, now)
            silent = [when for bridge, when in greeted.items() if bridge not in self._welcomed]
            if silent and now - min(silent) > _DEAF_AFTER:
                raise StoreRefusedError(_REFUSED)
            if not silent and now - began > _DEAD_AFTER:
                dead = others - self._welcomed
                log.info("%d bridges of this store have ended without a word", len(dead))
                await self._store.forget_bridges(dead)
                return
