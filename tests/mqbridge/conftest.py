"""`mqbridge` as a user starts it: a process of its own."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from activemq.embedded import EmbeddedBroker

READY_WITHIN = 60.0  # seconds, on a saturated machine


class Command:
    """A running `mqbridge`; all it prints is kept, both streams together."""

    def __init__(self, arguments: tuple[str, ...], cwd: Path, environ: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mqbridge", *arguments],
            cwd=cwd,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def output(self) -> str:
        with self._changed:
            return "".join(self._lines)

    def wait_for(self, text: str) -> str:
        """Return the first line that holds ``text``; fails if the command ends without it."""
        with self._changed:
            found = self._changed.wait_for(lambda: self._find(text) or self._ended, READY_WITHIN)
            line = self._find(text)
        assert found, f"nothing said {text!r} in {READY_WITHIN:g} s:\n{self.output}"
        assert line, f"ended without {text!r}:\n{self.output}"
        return line

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def exit_code(self) -> int:
        code = self.process.wait(READY_WITHIN)
        self._reader.join(READY_WITHIN)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _find(self, text: str) -> str | None:
        return next((line for line in self._lines if text in line), None)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


Start = Callable[..., Command]


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Some tests run a command in this process, and it sends the root's log elsewhere."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `mqbridge` with arguments, in an empty folder unless ``cwd`` says another."""
    commands: list[Command] = []

    def begin(*arguments: object, cwd: Path = tmp_path, environ: dict[str, str] | None = None) -> Command:
        command = Command(tuple(map(str, arguments)), cwd, environ or {})
        commands.append(command)
        return command

    yield begin
    for command in commands:
        command.close()


@pytest.fixture
def access(broker: EmbeddedBroker, tmp_path: Path) -> list[str]:
    """The options with which a worker finds the broker."""
    passcode = tmp_path / "passcode"
    passcode.write_text(broker.passcode + "\n")
    return ["--broker", broker.stomp_url, "--login", broker.login, "--passcode-file", str(passcode)]
