"""The budget of one check: what a caller sends decides how much work a check is."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.schema.patterns import Pattern

PAUSE_EVERY: Final = 128  # steps, about half a millisecond
STEP_SECONDS: Final = 2e-6  # what a step is worth where time is counted instead: in regular expressions
LEAST_SEARCH: Final = 0.001  # seconds


class TooMuchWorkError(Exception):
    """A check has spent its steps, or nobody waits for it any more."""


class Work(threading.local):
    """What is left of the check that runs in this thread."""

    steps = 0
    pause: Callable[[], None] | None = None

    def begin(self, steps: int, pause: Callable[[], None] | None) -> None:
        """Allow a check so many steps; ``pause`` is called now and then."""
        self.steps, self.pause = steps, pause

    def spend(self, steps: int = 1) -> None:
        """Count steps. Raises :class:`TooMuchWorkError` if that is more than there were."""
        before, self.steps = self.steps, self.steps - steps
        if self.steps < 0:
            raise TooMuchWorkError
        if self.pause is not None and before // PAUSE_EVERY != self.steps // PAUSE_EVERY:
            self.pause()

    def search(self, pattern: Pattern, text: str) -> bool:
        """Search, for as long as the steps that are left are worth."""
        began = time.perf_counter()
        try:
            return (
                pattern.search(text, timeout=max(self.steps * STEP_SECONDS, LEAST_SEARCH), concurrent=True) is not None
            )
        except TimeoutError:
            raise TooMuchWorkError from None
        finally:
            self.spend(int((time.perf_counter() - began) / STEP_SECONDS))
