"""One who calls: the name, the routes, and how much at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from bridge.access.rate import Rate
from bridge.problems import Problem, retry_later

if TYPE_CHECKING:
    from collections.abc import Iterable


class Principal:
    """A caller as the bridge knows it.

    ``name``: what workers and the store are told; empty where nobody is asked. ``routes``: names of those that it may
    call; None: all. ``max_held``: calls at once; None: as many as the bridge takes. ``rate``: as the settings write
    it.
    """

    __slots__ = ("_max_held", "_rate", "_text", "held", "name", "routes")

    def __init__(
        self, name: str, routes: Iterable[str] | None, max_held: int | None = None, rate: str | None = None
    ) -> None:
        self.name = name
        self.held = 0
        self.routes: frozenset[str] | None = None
        self._max_held: int | None = None
        self._text: str | None = None
        self._rate: Rate | None = None
        self.renew(routes, max_held, rate)

    def renew(self, routes: Iterable[str] | None, max_held: int | None, rate: str | None) -> None:
        """Give it other rights; what it holds and what it has used of a rate that stays the same stay."""
        self.routes = None if routes is None else frozenset(routes)
        self._max_held = max_held
        if self._text != rate:
            self._text = rate
            self._rate = None if rate is None else Rate(rate)

    def may_call(self, route: str) -> bool:
        """Say whether the route of this name is one of its own."""
        return self.routes is None or route in self.routes

    def check_held(self) -> None:
        """Raise :class:`Problem` ``caller-limit`` if it holds as many as it may."""
        if self._max_held is not None and self.held >= self._max_held:
            raise retry_later("caller-limit", f"this caller holds {self.held} calls, its limit")

    def check_rate(self, now: float) -> None:
        """Count one call at ``now``, seconds of the loop, or raise :class:`Problem` ``caller-limit``."""
        wait = 0.0 if self._rate is None else self._rate.take(now)
        if wait > 0:
            after = math.ceil(wait)
            raise retry_later("caller-limit", f"this caller calls more often than {self._text}", after=after)

    def __repr__(self) -> str:
        return f"<Principal {self.name or 'anybody'}: {self.held} held>"


# Who calls a bridge that asks nobody. It counts nothing that would be read.
ANYBODY: Final = Principal("", None)


def unauthenticated(detail: str) -> Problem:
    """Make the 401: what was sent as a credential is never part of it."""
    return Problem("unauthenticated", detail, headers=((b"www-authenticate", b"Bearer"),))
