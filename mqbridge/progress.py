"""A word, or a bar, for whoever waits."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Self

from rich.console import Console

from mqbridge.console import say

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

FIRST_AFTER: Final = 2.0  # seconds
LONGEST_PAUSE: Final = 30.0
_LOOK: Final = 0.1  # seconds between two looks of the bar
_WORDS: Final = 60  # characters beside the bar


class Progress:
    """Says on standard error what is being done, once that has taken 2 s: a bar on a terminal, else lines now and then.

    ``with Progress("replaying") as progress: progress.now = "12 of 400"``. Where it is known how much there is,
    ``progress.total = 400; progress.done = 12``.
    """

    def __init__(self, what: str, total: float | None = None) -> None:
        self.now = ""
        self.done: float = 0
        self.total = total
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
        if self._over.wait(FIRST_AFTER):
            return
        console = Console(stderr=True)
        if console.is_terminal and not console.is_dumb_terminal:
            self._show(console)
        else:
            self._tell()

    def _tell(self) -> None:
        pause = FIRST_AFTER
        while True:
            say(f"{self._what} … {', '.join(part for part in (self._parts, self.now) if part)}".rstrip())
            pause = min(2 * pause, LONGEST_PAUSE)
            if self._over.wait(pause):
                return

    def _show(self, console: Console) -> None:
        with _bar(console) as bar:
            task = bar.add_task(self._what, told="", total=None)
            bar.tasks[0].start_time = bar.get_time() - FIRST_AFTER
            while not self._over.wait(_LOOK):
                told = ", ".join(part for part in (self._parts, self.now[:_WORDS]) if part)
                bar.update(task, total=self.total, completed=self.done, told=told)

    @property
    def _parts(self) -> str:
        return "" if self.total is None else f"{self.done:g} of {self.total:g}"


def _bar(console: Console) -> Bar:
    """Return a bar that leaves nothing behind. What is printed meanwhile on standard error comes above it."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - seldom needed

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[told]}", markup=False),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True, redirect_stdout=False)
