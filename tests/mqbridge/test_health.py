"""`--health-file`, and the script that reads it in containers (deploy/health.py)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from activemq.embedded import EmbeddedBroker
from tests.mqbridge.conftest import READY_WITHIN, Command, Start
from tests.mqbridge.test_processes import HELLO

SCRIPT = Path(__file__).parents[2] / "deploy/health.py"


def ask(*arguments: object) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert not done.stderr
    return done.returncode, done.stdout


def wait_until(file: Path, state: str) -> None:
    end = time.monotonic() + READY_WITHIN
    while not (file.exists() and file.read_text() == f"{state}\n"):
        assert time.monotonic() < end, f"{file} never said {state!r}"
        time.sleep(0.05)


def begin(start: Start, folder: Path, broker: str, file: Path, **environ: str) -> Command:
    (folder / "hello.py").write_text(HELLO)
    return start("work", "hello:worker", "--broker", broker, "--health-file", file, environ=environ)


def test_a_worker_at_its_broker_is_ready_and_at_its_end_the_file_is_gone(
    start: Start, broker: EmbeddedBroker, tmp_path: Path
):
    file = tmp_path / "health"
    login = {"MQBRIDGE_BROKER__LOGIN": broker.login, "MQBRIDGE_BROKER__PASSCODE": broker.passcode}
    worker = begin(start, tmp_path, broker.stomp_url, file, **login)
    wait_until(file, "ready")

    assert ask(file) == ask("--ready", file) == (0, "")

    worker.signal(signal.SIGTERM)
    assert worker.exit_code() == 0
    assert not file.exists()
    assert ask(file) == (1, f"{file}: No such file or directory\n")


def test_a_worker_without_a_broker_is_alive_and_not_ready(start: Start, tmp_path: Path):
    file = tmp_path / "health"
    with socket.create_server(("127.0.0.1", 0)) as nobody:  # takes connections, and never answers
        begin(start, tmp_path, f"stomp://127.0.0.1:{nobody.getsockname()[1]}", file)
        wait_until(file, "without a broker")

        assert ask(file) == (0, "")
        assert ask("--ready", file) == (1, "the worker is without a broker\n")


def test_a_file_that_cannot_be_written_is_refused_at_once(start: Start, tmp_path: Path):
    worker = begin(start, tmp_path, "stomp://127.0.0.1:1", Path("/nowhere/health"))

    assert worker.exit_code() == 2
    assert "--health-file /nowhere/health: No such file or directory" in worker.output


@pytest.mark.parametrize(("age", "code"), [(5, 0), (60, 1)])
def test_an_old_file_is_that_of_a_worker_that_hangs(tmp_path: Path, age: int, code: int):
    file = tmp_path / "health"
    file.write_text("ready\n")
    os.utime(file, (time.time() - age, time.time() - age))

    found, says = ask(file)

    assert found == code
    assert not code or "hangs" in says


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_a_bridge_is_asked_by_http(status: int, code: int):
    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/-/live"

        found, says = ask(url)
        thread.join()

    assert found == code
    assert not code or str(status) in says


def test_a_bridge_that_does_not_answer_is_not_well():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    assert ask(f"http://127.0.0.1:{port}/-/live")[0] == 1


@pytest.mark.parametrize("arguments", [[], ["--ready"], ["a", "b"]])
def test_it_says_how_it_is_used(arguments: list[str]):
    assert ask(*arguments)[0] == 2
