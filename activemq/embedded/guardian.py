"""A small process between us and the broker: it sees to it that the broker never outlives us.

It is run by its path, as a program of its own, and imports nothing of this package: it must start in a few
milliseconds and hold little memory.

* It is the broker's parent and holds a pipe to ours. The pipe's end, also by ``kill -9``, ends the broker.
* Somebody else may hold a copy of that pipe (a process forked off ours), so on Linux it watches our process too.
* If it is itself killed, Linux kills the broker (``PR_SET_PDEATHSIG``). We could not use that directly: it is bound to
  the *thread* that started the child, and a program of any kind starts and ends threads. This one has a single thread.
* It leads a session of its own: a terminal's Ctrl-C reaches neither it nor the broker, and we can stop them in order.

It prints the broker's process id and exits with the broker's exit code. On its standard input ``T`` asks the broker to
stop (SIGTERM, and SIGKILL after ``--grace`` seconds), ``K`` kills it, and the end of input means that we are gone.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main(arguments: Sequence[str]) -> int:
    """Run the command after ``--`` until it ends or our parent does; returns the exit code."""
    options = _parse(arguments)
    wake = _wake_on_signals()
    parent = _watch_process(options.parent)
    if os.getppid() != options.parent:
        return 1  # it died before we could watch it
    child = _start(options.command)
    print(child.pid, flush=True)  # for the launcher
    guard = _Guard(child, grace=options.grace)
    guard.run(wake, parent)
    if guard.orphaned and options.remove:
        _remove(options.remove)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


class _Guard:
    """The loop: waits for a word, for the parent's end, for a signal, or for the child's end."""

    def __init__(self, child: subprocess.Popen[bytes], *, grace: float) -> None:
        self.orphaned = False
        self._child = child
        self._grace = grace
        self._kill_at: float | None = None

    def run(self, wake: int, parent: int | None) -> None:
        """Return once the child has ended."""
        poller = select.poll()
        for descriptor in (0, wake, parent):
            if descriptor is not None:
                poller.register(descriptor, select.POLLIN)
        while self._child.poll() is None:
            for descriptor, _ in poller.poll(self._timeout()):
                self._handle(descriptor, wake, poller)
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._child.kill()

    def _handle(self, descriptor: int, wake: int, poller: select.poll) -> None:
        if descriptor == wake:
            signals = os.read(wake, 512)
            if any(number != signal.SIGCHLD for number in signals):
                self._terminate()
            return
        said = os.read(0, 16) if descriptor == 0 else b""
        if not said:
            poller.unregister(descriptor)
            self.orphaned = True
            self._terminate()
        elif b"K" in said:
            self._child.kill()
        else:
            self._terminate()

    def _terminate(self) -> None:
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._grace
            self._child.terminate()

    def _timeout(self) -> float | None:
        """Milliseconds for ``poll``; ``None`` waits for ever."""
        if self._kill_at is None:
            return None
        return max(50.0, (self._kill_at - time.monotonic()) * 1000)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parent", type=int, required=True, help="the process to outlive never")
    parser.add_argument("--grace", type=float, default=10.0, help="seconds from SIGTERM to SIGKILL")
    parser.add_argument("--remove", help="a folder to remove if the parent died without a word")
    parser.add_argument("command", nargs="+")
    return parser.parse_args(arguments)


def _wake_on_signals() -> int:
    """Return a descriptor that becomes readable on SIGTERM and SIGCHLD."""
    wake, write = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return wake


def _watch_process(pid: int) -> int | None:
    """Return a descriptor that becomes readable when that process ends; ``None`` where the system has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start it with our standard error as its whole output."""
    return subprocess.Popen(  # noqa: S603 - the launcher's own command line, no shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=2,
        stderr=2,
        preexec_fn=_die_with_guardian(),  # noqa: PLW1509 - this process has one thread
    )


def _die_with_guardian() -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    guardian = os.getpid()

    def arrange() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guardian:  # killed in between: the signal will not come
            os._exit(1)

    return arrange


def _remove(folder: str) -> None:
    import shutil  # noqa: PLC0415 - rarely needed, and dear to import

    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
