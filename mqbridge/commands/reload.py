"""`--reload`: run the same command again whenever a Python file changes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import watchfiles

from mqbridge.console import say
from mqbridge.lifetime import drained_with_parent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

DRAIN = 30.0  # seconds that a running handler has; the broker hands on what a killed one leaves
LOOK_EVERY = 500  # ms


def rerun_on_change(arguments: Sequence[str]) -> int:
    """Run `mqbridge` with these arguments, without ``--reload``, until a signal; return the exit code."""
    command = [sys.executable, "-m", "mqbridge", *(a for a in arguments if a != "--reload")]
    stop = threading.Event()

    def asked(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, asked)
    say("watching for changes of Python files here")
    child = _start(command)
    told = False
    python_files = watchfiles.PythonFilter()
    for changes in watchfiles.watch(
        ".", watch_filter=python_files, stop_event=stop, rust_timeout=LOOK_EVERY, yield_on_timeout=True
    ):
        if changes:
            say("a file has changed: starting again" if len(changes) == 1 else "files have changed: starting again")
            _drain(child)
            child, told = _start(command), False
        elif child.poll() is not None and not told:
            told = True
            say(f"the worker has ended (code {child.returncode}); it starts again with the next change")
    return _drain(child)


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    # In a session of its own: a terminal's Ctrl-C goes to all processes of its session, and with the one that we send
    # it would be the second, which does not wait for running handlers.
    return subprocess.Popen(  # noqa: S603 - our own command line
        command,
        start_new_session=True,
        preexec_fn=drained_with_parent(),  # noqa: PLW1509 - it calls one function of libc
    )


def _drain(child: subprocess.Popen[bytes]) -> int:
    """Let it finish what runs; return its exit code."""
    if child.poll() is None:
        child.terminate()
    try:
        return child.wait(DRAIN)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()
