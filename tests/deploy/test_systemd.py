"""deploy/systemd: the units are ones, and what they ask of the command is what it does."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from activemq.testing import FakeBroker
from mqbridge.notify import notify
from tests.tools import unavailable

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
BRIDGE, WORKER = UNITS / "mqbridge.service", UNITS / "mqbridge-worker@.service"
HARDENING = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "DynamicUser": "yes",
    "CapabilityBoundingSet": "",
    "SystemCallFilter": "@system-service",
}


def directives(unit: Path) -> list[tuple[str, str]]:
    lines = [line for line in unit.read_text().splitlines() if line and line[0] not in "#["]
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


def analyze(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        unavailable("systemd-analyze is not installed (Debian: systemd)")
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("unit", [BRIDGE, WORKER], ids=lambda unit: unit.stem)
def test_systemd_takes_the_unit(unit, tmp_path):
    copy = tmp_path / unit.name.replace("@.", "@words.")
    copy.write_text(unit.read_text().replace("/usr/bin/mqbridge", "/bin/true"))  # it has to be there
    verified = analyze("verify", "--man=no", f"./{copy.name}", cwd=tmp_path)
    assert (verified.returncode, [line for line in verified.stderr.splitlines() if copy.name in line]) == (0, [])


@pytest.mark.parametrize("unit", [BRIDGE, WORKER], ids=lambda unit: unit.stem)
def test_the_service_is_hardened(unit, tmp_path):
    found = directives(unit)
    assert HARDENING.items() <= dict(reversed(found)).items()
    copy = tmp_path / unit.name.replace("@.", "@words.")
    copy.write_text(unit.read_text())
    judged = analyze("security", "--offline=true", "--no-pager", "--threshold=20", f"./{copy.name}", cwd=tmp_path)
    assert judged.returncode == 0, judged.stdout[-500:]  # exposure of at most 2.0 of 10


def in_folders(unit: Path, folder: Path) -> tuple[list[str], dict[str, str]]:
    """The command of a unit and its environment, as systemd would start it, but below ``folder``."""

    def expanded(text: str) -> str:
        for specifier, name in (("%d", "credentials"), ("%S", "state"), ("%E", "etc"), ("%i", "words")):
            text = text.replace(specifier, str(folder / name) if name != "words" else name)
        return text

    found = directives(unit)
    environ = dict(expanded(value).split("=", 1) for name, value in found if name == "Environment")
    (command,) = (shlex.split(expanded(value)) for name, value in found if name == "ExecStart")
    return [sys.executable, "-m", "mqbridge", *command[1:]], environ


@pytest.fixture
def told(tmp_path):
    """The socket at which systemd listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(60)
        yield sock


def begin(command, environ, folder):
    return subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | environ | {"NOTIFY_SOCKET": str(folder / "notify")},
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_the_bridge_starts_as_its_unit_says_and_tells_that_it_is_ready(told, tmp_path):
    async with FakeBroker() as broker:
        for folder in ("etc/mqbridge", "state/mqbridge", "credentials"):
            (tmp_path / folder).mkdir(parents=True)
        (tmp_path / "credentials" / "passcode").write_text("secret\n")
        (tmp_path / "etc" / "mqbridge" / "bridge.toml").write_text(
            f'[server]\nbind = ["127.0.0.1:0"]\n[broker]\nurls = ["{broker.url}"]\nlogin = "bridge"\n'
            '[[route]]\nname = "a"\npath = "/a"\nqueue = "a"\n'
        )
        bridge = begin(*in_folders(BRIDGE, tmp_path), tmp_path)
        try:
            assert await received(told) == b"READY=1"
            bridge.send_signal(signal.SIGHUP)  # ExecReload
        finally:
            bridge.terminate()
            _, said = await ended(bridge)
        assert bridge.returncode == 0, said
        assert (tmp_path / "state" / "mqbridge" / "jobs.db").exists()


async def test_a_worker_starts_as_its_unit_says_and_tells_that_it_is_ready(told, tmp_path):
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "passcode").write_text("secret\n")
    (tmp_path / "words.py").write_text(
        "from consumers import Worker\nworker = Worker()\n"
        "@worker.handler('words')\ndef count(text: str) -> str:\n    return text\n"
    )
    async with FakeBroker() as broker:
        command, environ = in_folders(WORKER, tmp_path)
        options = ["--broker", broker.url, "--login", "worker", "--concurrency", "2"]
        words = [
            one for word in command for one in {"$WORKER": ["words:worker"], "$OPTIONS": options}.get(word, [word])
        ]
        worker = begin(words, environ, tmp_path)
        try:
            assert await received(told) == b"READY=1"
        finally:
            worker.terminate()
            _, said = await ended(worker)
        assert worker.returncode == 0, said


async def received(sock):
    return await asyncio.to_thread(sock.recv, 100)


async def ended(process):
    return await asyncio.to_thread(process.communicate, None, 60)


def test_an_abstract_socket_is_told_too(monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0mqbridge-test-{os.getpid()}")
        sock.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@mqbridge-test-{os.getpid()}")
        notify("READY=1")
        assert sock.recv(100) == b"READY=1"


def test_where_nobody_listens_it_is_a_warning_and_no_more(monkeypatch, caplog):
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/notify")
    notify("READY=1")
    assert "systemd cannot be told" in caplog.text
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")
