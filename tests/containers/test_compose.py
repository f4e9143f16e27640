"""compose.yaml, run as its head says, with docker compose."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest
import yaml

from bridge.settings import load
from tests.containers.composing import WITHIN, answered, command, project
from tests.containers.images import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import docker


@pytest.fixture(scope="session")
def compose() -> list[str]:
    return command()


@pytest.fixture
def up(
    compose: list[str], engine: docker.DockerClient, built: dict[str, str], classic_image: str, tmp_path: Path
) -> Iterator[Callable[..., str]]:
    """Run compose on our file."""
    with project(compose, ["compose.yaml"], {"broker": classic_image, **built}, tmp_path) as run:
        yield run


@pytest.mark.parametrize("variant", ["compose.artemis.yaml", "compose.ha.yaml"])
def test_a_variant_is_valid(compose: list[str], variant: str):
    environ = {**os.environ, "BRIDGE_PASSCODE": "b", "WORKER_PASSCODE": "w"}
    files = ("--file", str(ROOT / "compose.yaml"), "--file", str(ROOT / variant))

    done = subprocess.run(
        [*compose, *files, "config", "--quiet"],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")


def test_with_artemis_a_call_is_answered(compose: list[str], built: dict[str, str], artemis_image: str, tmp_path: Path):
    files = ["compose.yaml", "compose.artemis.yaml"]
    with project(compose, files, {"broker": artemis_image, **built}, tmp_path) as run:
        assert answered(run)["words"] == 3
        assert "ActiveMQ-Artemis" in run("logs", "bridge")


def test_with_two_brokers_the_other_answers_when_the_live_one_is_killed_and_again_when_that_is(
    compose: list[str], built: dict[str, str], classic_image: str, tmp_path: Path
):
    files = ["compose.yaml", "compose.ha.yaml"]
    images = {"broker": classic_image, "standby": classic_image, **built}
    with project(compose, files, images, tmp_path) as run:
        assert answered(run)["words"] == 3
        first = live_of(run)
        run("kill", "--signal", "SIGKILL", first)
        assert answered(run)["words"] == 3
        second = live_of(run)
        assert {first, second} == {"broker", "standby"}
        run("start", first)
        run("kill", "--signal", "SIGKILL", second)
        assert answered(run)["words"] == 3
        assert live_of(run) == first


def live_of(run: Callable[..., str]) -> str:
    """The broker that the bridge said last that it is connected to."""
    lines = [line for line in run("logs", "--no-log-prefix", "bridge").splitlines() if "connected to" in line]
    return "standby" if "standby:61613" in lines[-1] else "broker"


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
