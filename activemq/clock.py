"""The broker's time. `expires` is an absolute time, so two clocks that disagree lose messages silently."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(slots=True)
class Clock:
    """Our clock, corrected by what an echo through the broker showed.

    ``offset_ms`` is what has to be added to our time to have the broker's; ``error_ms`` is half the echo's round
    trip, the most by which the offset can be wrong. Until measured both are 0.

    From the echo on the steady clock counts: one that is set, by an hour or by a second, moves no deadline.
    """

    offset_ms: float = 0.0
    error_ms: float = 0.0
    measured: bool = False
    _steady_zero: float = 0.0  # epoch ms, by our clock at the echo, when the steady clock was 0

    def now_ms(self) -> int:
        """Return the broker's time now, in epoch ms."""
        ours = self._steady_zero + time.monotonic() * 1_000 if self.measured else time.time() * 1_000
        return round(ours + self.offset_ms)

    def measure(self, sent_ms: float, received_ms: float, stamped_ms: int) -> None:
        """Take an echo: when it left and came back by our clock, and the broker's stamp, all in epoch ms."""
        self.offset_ms = stamped_ms - (sent_ms + received_ms) / 2
        self.error_ms = (received_ms - sent_ms) / 2
        self._steady_zero = (time.time() - time.monotonic()) * 1_000
        self.measured = True
