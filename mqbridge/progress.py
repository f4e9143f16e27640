"""A word now and then for whoever waits."""

from __future__ import annotations

import threading
from typing import Final, Self

from mqbridge.console import say

FIRST_AFTER: Final = 2.0  # seconds
LONGEST_PAUSE: Final = 30.0


class Progress:
    """Says on standard error what is being done, once that has taken 2 s, and again at growing intervals.

    ``with Progress("replaying") as progress: progress.now = "12 of 400"``
    """

    def __init__(self, what: str) -> None:
        self.now = ""
        self._what = what
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        pause = FIRST_AFTER
        while not self._over.wait(pause):
            say(f"{self._what} … {self.now}".rstrip())
            pause = min(2 * pause, LONGEST_PAUSE)
