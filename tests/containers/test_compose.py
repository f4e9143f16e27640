"""compose.yaml, run as its head says, with docker compose."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest
import yaml

from bridge.settings import load
from tests.containers import images
from tests.tools import COMPOSE, go_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import docker

ROOT = images.ROOT
WITHIN = 120.0  # seconds, on a saturated machine


@pytest.fixture(scope="session")
def compose() -> list[str]:
    """The command: the one that is there, or else one built with Go."""
    if shutil.which("docker"):
        found = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        if found.returncode == 0:
            return ["docker", "compose"]
    return [str(go_tool(COMPOSE, "docker-compose"))]


@pytest.fixture
def up(
    compose: list[str], engine: docker.DockerClient, built: dict[str, str], classic_image: str, tmp_path: Path
) -> Iterator[Callable[..., str]]:
    """Run compose on our file, with the images that the tests have and any free port."""
    (tmp_path / "images.yaml").write_text(
        yaml.safe_dump(
            {
                "services": {
                    "broker": {"image": classic_image, "pull_policy": "never"},
                    "bridge": {"image": built["bridge"], "pull_policy": "never"},
                    "worker": {"image": built["worker"], "pull_policy": "never"},
                }
            }
        )
    )
    project = f"mqbridge-test-{secrets.token_hex(4)}"
    environ = {**os.environ, "BRIDGE_PORT": "0", "BRIDGE_PASSCODE": "b" * 16, "WORKER_PASSCODE": "w" * 16}

    def run(*arguments: str) -> str:
        files = ("--file", str(ROOT / "compose.yaml"), "--file", str(tmp_path / "images.yaml"))
        done = subprocess.run(
            [*compose, "--project-name", project, *files, *arguments],
            cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        run("up", "--detach", "--no-build", "--wait", "--wait-timeout", "120")
        yield run
    finally:
        run("down", "--volumes", "--timeout", "40")


def test_what_its_head_says_works(up: Callable[..., str]):
    address = up("port", "bridge", "8080").strip()
    request = urllib.request.Request(f"http://{address}/texts", b"one two two", {"Content-Type": "text/plain"})

    with urllib.request.urlopen(request, timeout=30) as response:
        assert (response.status, json.loads(response.read())["words"]) == (200, 3)

    states = [json.loads(line) for line in up("ps", "--format", "json").splitlines()]
    assert sorted((one["Service"], one["Health"]) for one in states) == [
        ("bridge", "healthy"),
        ("broker", "healthy"),
        ("worker", "healthy"),
        ("worker", "healthy"),
    ]


def test_jobs_survive_a_restart_of_everything(up: Callable[..., str]):
    """The named volumes belong to who runs: the bridge's store and the broker's messages are written there."""
    headers = {"Content-Type": "text/plain", "Prefer": "respond-async"}
    address = up("port", "bridge", "8080").strip()
    request = urllib.request.Request(f"http://{address}/texts", b"one two two", headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 202
        job = response.headers["Location"]

    up("restart", "--timeout", "40")
    up("up", "--detach", "--no-build", "--wait", "--wait-timeout", "120")

    address = up("port", "bridge", "8080").strip()
    path = job if job.startswith("/") else "/" + job.split("/", 3)[3]
    end = time.monotonic() + WITHIN
    while True:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=30) as response:
            state = json.loads(response.read())
        if state["state"] == "done":
            return
        assert time.monotonic() < end, state
        time.sleep(0.2)


def test_it_asks_for_passcodes_by_name(compose: list[str]):
    environ = {name: value for name, value in os.environ.items() if name not in ("BRIDGE_PASSCODE", "WORKER_PASSCODE")}

    done = subprocess.run(
        [*compose, "--file", str(ROOT / "compose.yaml"), "config"],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode != 0
    assert "export BRIDGE_PASSCODE first" in done.stderr or "export WORKER_PASSCODE first" in done.stderr


def test_a_container_is_not_killed_before_its_drain_is_over():
    settings = load(ROOT / "deploy/bridge.toml", {"MQBRIDGE_BROKER__PASSCODE": "x"})
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]

    assert services["bridge"]["stop_grace_period"].endswith("s")
    assert float(services["bridge"]["stop_grace_period"].rstrip("s")) >= settings.server.drain
