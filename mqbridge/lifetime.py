"""How long a command runs: until SIGINT or SIGTERM, and not longer than what it belongs to."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def run(work: Coroutine[Any, Any, int]) -> int:
    """Run a command on uvloop where the `fast` extra is installed, else on asyncio's own loop."""
    try:
        import uvloop  # noqa: PLC0415 - part of an extra
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Give an event that SIGINT and SIGTERM set; a second signal ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked, number)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def drained_with_parent() -> Callable[[], None] | None:
    """Return what a child does before it begins, so that Linux tells it to drain when we die without a word.

    The signal is bound to the thread that starts the child: start children from the main thread.
    """
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
