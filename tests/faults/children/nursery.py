"""Makes workers by forking: a process that has loaded all of `mqbridge work` once has a new worker in some 20 ms.

Five hundred workers are killed in a run, and each start of Python with all imports costs a second of CPU. A child is a
process like any other: its own pid, log, connections and end. The parent has one thread and no loop, so that nothing of
it lives on in its children. Lines of JSON come in and go out; the end of the input is the end of all children.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
from contextlib import suppress
from typing import Any

import activemq
import mqbridge.cli
import mqbridge.commands.work  # loaded once, for all
import tests.faults.history  # noqa: F401 - as above

PR_SET_PDEATHSIG = 1
READ = 65_536


class Nursery:
    """Children, until they end."""

    def __init__(self) -> None:
        self._alive: set[int] = set()

    def run(self) -> None:
        """Obey until the parent is gone."""
        wakes, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        _say(ready=activemq.__name__)
        buffer = b""
        while True:
            readable, _, _ = select.select([0, wakes], [], [])
            if wakes in readable:
                os.read(wakes, READ)
                self._bury()
            if 0 in readable:
                data = os.read(0, READ)
                if not data:
                    break
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    self._make(json.loads(line))
        for pid in self._alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _make(self, order: dict[str, Any]) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                _live(parent, order)
            finally:
                os._exit(70)  # never back into the parent's code
        self._alive.add(pid)
        _say(name=order["name"], pid=pid)

    def _bury(self) -> None:
        for pid in tuple(self._alive):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._alive.discard(pid)
                _say(ended=pid, code=os.waitstatus_to_exitcode(status))


def _live(parent: int, order: dict[str, Any]) -> None:
    """Be a worker."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, theirs in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(ours, theirs)
    os.environ.update(order["environ"])
    if "LD_PRELOAD" in order["environ"]:  # is looked at by the loader only
        os.execv(sys.executable, [sys.executable, "-m", "mqbridge", *order["arguments"]])
    sys.argv = ["mqbridge", *order["arguments"]]
    code = 0
    try:
        mqbridge.cli.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _say(**message: object) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    Nursery().run()
