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
    from contextlib import AbstractAsyncContextManager, AsyncExitStack

_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG = 1, 2  # <linux/prctl.h>
_SAME = 0.5  # seconds in which a parent that dies may tell us so for each of its threads


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
def stop_signals(same: float = _SAME, on_stop: Callable[[], None] | None = None) -> Iterator[asyncio.Event]:
    """Give an event that SIGINT and SIGTERM set; a second signal ends the process at once.

    ``on_stop`` is called at the first, in the loop.

    In a child that :func:`drained_with_parent` has arranged, what comes within ``same`` seconds is the same signal.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    not_before = 0.0

    def asked(number: int) -> None:
        nonlocal not_before
        if stop.is_set() and loop.time() >= not_before:
            os._exit(128 + number)
        if not stop.is_set() and _is_told_of_death():
            not_before = loop.time() + same
        if not stop.is_set() and on_stop is not None:
            on_stop()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked, number)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def entered(
    stack: AsyncExitStack, context: AbstractAsyncContextManager[Any], stopping: asyncio.Task[Any]
) -> bool:
    """Enter on ``stack`` what takes its time to start; False, and it is given up, if ``stopping`` is done before.

    ``context`` has to clean up after itself where its start is cancelled. Raises what entering it raises.
    """
    starting = asyncio.ensure_future(stack.enter_async_context(context))
    try:
        await asyncio.wait([stopping, starting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        starting.cancel()  # nothing happens to one that is done
        await asyncio.wait([starting])
    if not starting.cancelled():
        starting.result()
    return not stopping.done()


def _is_told_of_death() -> bool:
    """Say whether Linux signals this process when its parent dies."""
    if not sys.platform.startswith("linux"):
        return False
    number = ctypes.c_int(0)
    ctypes.CDLL(None).prctl(_PR_GET_PDEATHSIG, ctypes.byref(number), 0, 0, 0)
    return number.value != 0


def without_threads() -> None:
    """Have the next loop wait for children without a thread for each. Python 3.12 does where there is pidfd_open."""
    if sys.version_info < (3, 12) and sys.platform.startswith("linux"):
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())


def drained_with_parent() -> Callable[[], None] | None:
    """Return what a child does before it begins, so that Linux tells it to drain when we die without a word.

    The signal is bound to the thread that starts the child: start children from the main thread. When that dies the
    child belongs to another of our threads, and is told again when that one dies too: :func:`stop_signals` knows that.
    A bridge does not, for which a second signal means "at once": it needs a parent :func:`without_threads`.
    """
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def arrange() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # killed in between: the signal will not come
            os._exit(1)

    return arrange
