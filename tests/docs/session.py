"""Runs a page as its reader would: python -m tests.docs.session FOLDER PAGE.

The page's blocks are taken in order, in the empty FOLDER. A block with a title is written to the file of that name,
a console block is typed, and any other Python block is run. A command that stays (a broker, a bridge, a worker) gets a
terminal of its own: what the page shows of it is waited for. At the end they are ended with Ctrl-C, the last one first.
Addresses are the page's own: so this is to run in namespaces of its own (see ``test_sessions.py``), and brings
up the loopback there. Exit code 1 and a transcript if anything was not as the page says.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from tests.docs.console import Step, matches, steps
from tests.docs.pages import Block, read

PATIENCE: Final = 60  # seconds, for one command
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


class NotAsWrittenError(Exception):
    """What happened is not what the page says; the text has both."""


@dataclass
class Terminal:
    """A command that stays, and the file that it prints to."""

    command: str
    process: subprocess.Popen[bytes]
    output: Path

    def printed(self) -> list[str]:
        return self.output.read_text("utf-8", "replace").splitlines()

    def interrupt(self, where: str) -> None:
        """End it with Ctrl-C, as a terminal would: its whole group gets the signal."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGINT)
        code = self.process.wait(PATIENCE)
        # Killed: the page has done it. A program of the reader's need not know what to do at Ctrl-C.
        if code not in (0, -signal.SIGKILL) and not (code == -signal.SIGINT and self.command.startswith("python ")):
            raise NotAsWrittenError(f"{where}: at Ctrl-C {self.command!r} ended with {code}\n{_shown(self.printed())}")


class Session:
    """The reader of a page: a folder, an environment, and some terminals."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.terminals: list[Terminal] = []
        self._hidden = folder.parent / f"{folder.name}.terminals"
        self._hidden.mkdir()
        self._state = self._hidden / "state.sh"
        # At a terminal curl has no progress meter.
        (self._hidden / ".curlrc").write_text("no-progress-meter\n")
        self._state.write_text(f"export CURL_HOME={shlex.quote(str(self._hidden))}\n")

    def take(self, block: Block) -> None:
        """Do what a block says."""
        if block.title:
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
        elif block.language == "console":
            for step in steps(block.text):
                self.type(step, block.where)
        elif block.language == "python":
            script = self._hidden / f"line_{block.line}.py"
            script.write_text(block.text, "utf-8")
            self.type(Step(f"PYTHONPATH=. python {shlex.quote(str(script))}", ()), block.where)

    def type(self, step: Step, where: str) -> None:
        """Type a command, and look at what it prints."""
        print(f"[{where}] $ {step.command}", flush=True)
        if step.ends:
            self._terminal(step.command, where).interrupt(where)
        elif step.stays:
            self._open(step, where)
        else:
            self._run(step, where)

    def end(self) -> None:
        """Press Ctrl-C in each terminal, the last one first."""
        while self.terminals:
            self.terminals.pop().interrupt("the end of the page")

    def _terminal(self, command: str, where: str) -> Terminal:
        for terminal in self.terminals:
            if terminal.command == command:
                self.terminals.remove(terminal)
                return terminal
        raise NotAsWrittenError(f"{where}: ^C, but {command!r} does not run")

    def _start(self, script: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["bash", "-c", script],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _open(self, step: Step, where: str) -> None:
        output = self._hidden / f"{len(list(self._hidden.iterdir()))}.txt"
        with output.open("wb") as file:
            process = self._start(f". {self._state}\nexec env {step.command}", file)
        terminal = Terminal(step.command, process, output)
        self.terminals.append(terminal)
        until = time.monotonic() + PATIENCE
        while not matches(("…", *step.expected), terminal.printed(), whole=False):
            if time.monotonic() > until or process.poll() is not None:
                raise NotAsWrittenError(_difference(where, step, terminal.printed()))
            time.sleep(0.05)  # a bounded poll of a file

    def _run(self, step: Step, where: str) -> None:
        output = self._hidden / "output.txt"
        new = f"{self._state}.new"
        keep = f"{{ code=$?; export -p; printf 'cd %q\\n' \"$PWD\"; }} > {new}; mv {new} {self._state}; exit $code"
        with output.open("wb") as file:
            process = self._start(f". {self._state}\n{step.command}\n{keep}", file)
        code = process.wait(PATIENCE)
        printed = output.read_text("utf-8", "replace").replace("\r", "").splitlines()
        print(_shown(printed), flush=True)
        if code != 0 or not matches(step.expected, printed, whole=True):
            raise NotAsWrittenError(_difference(where, step, printed, f" (exit code {code})"))


def _difference(where: str, step: Step, printed: list[str], more: str = "") -> str:
    return f"{where}: $ {step.command}{more}\nthe page says:\n{_shown(step.expected)}\nit printed:\n{_shown(printed)}"


def _shown(lines: list[str] | tuple[str, ...]) -> str:
    return "\n".join(f"    {line}" for line in lines)


def loopback_up() -> None:
    """Bring up the loopback of a network namespace, as ``ip link set lo up`` does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def main(folder: str, page: str) -> int:
    """Run the page in the folder; return the exit code."""
    loopback_up()
    # A shell starts what it puts into the background with SIGINT ignored, and that is handed down to each program.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    session = Session(Path(folder))
    try:
        for block in read(Path(page).resolve()).runnable:
            session.take(block)
        session.end()
    except (NotAsWrittenError, subprocess.TimeoutExpired) as error:
        print(f"\nNOT AS WRITTEN: {error}", flush=True)
        for terminal in session.terminals:
            print(f"\n{terminal.command}:\n{_shown(terminal.printed()[-30:])}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
