"""Gives memory back after a crowd has gone.

Of 10,000 held calls the allocator keeps most pages for later, and a server's closed connections can be cycles that
only a full collection frees; with the thresholds that are good for speed it comes too seldom (docs/performance.md).
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_EVERY: Final = 1.0  # seconds
CROWD: Final = 1_000  # calls held at once
AGAIN_AFTER: Final = (0, 2, 10)  # looks after it has gone


async def tidy_after_crowds(held: Callable[[], int]) -> None:
    """Run for ever: once a tenth is left of a crowd, collect and give back, and again a little later.

    ``held``: how many calls there are. A server takes seconds to be done with the connections of calls that are over.
    """
    give_back = _trimmer()
    peak, since = 0, max(AGAIN_AFTER) + 1
    while True:
        await asyncio.sleep(LOOK_EVERY)
        now = held()
        peak, since = max(peak, now), since + 1
        if peak >= CROWD and now <= peak // 10:
            peak, since = now, 0
        if since in AGAIN_AFTER and now < CROWD:
            gc.collect()  # some 10 ms: what was there at the start is frozen
            give_back()


def _trimmer() -> Callable[[], object]:
    """Return glibc's malloc_trim, or nothing where there is none."""
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            return lambda: trim(0)
    return lambda: None
