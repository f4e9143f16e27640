"""What holds for every connection, whichever HTTP server has it."""

from __future__ import annotations

import resource
from typing import Final

MAX_HEAD: Final = 64 * 1024  # bytes of a request's head
GIVEN_UP_AFTER: Final = 10.0  # seconds that the rest of the last answer has, once a connection is to be closed
STALLED_FOR: Final = 60.0  # seconds in which a reader for whom more than 64 KiB wait takes less than that
KEPT_BACK: Final = 100  # descriptors for the broker, the store, the log, and what listens

RESETS: Final = 200  # at once; 100 streams can be open, and a caller that leaves resets all of them
RESETS_PER_SECOND: Final = 30.0  # and in the long run


def connections_allowed(wanted: int) -> int:
    """Return how many connections may be open: those that are wanted, or that the system's descriptors suffice for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - KEPT_BACK))


class Bucket:
    """How many streams one HTTP/2 connection may still reset (a token bucket)."""

    def __init__(self, size: int = RESETS, per_second: float = RESETS_PER_SECOND) -> None:
        self._size = size
        self._per_second = per_second
        self._left = float(size)
        self._seen: float | None = None

    def take(self, number: int, now: float) -> bool:
        """Take so many out; False if there are not as many. ``now``: the loop's time, seconds."""
        if self._seen is not None:
            self._left = min(self._size, self._left + (now - self._seen) * self._per_second)
        self._seen = now
        self._left -= number
        return self._left >= 0
