"""docker compose on our files, with the images that the tests have and any free port."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import yaml

from tests.containers.images import ROOT
from tests.tools import COMPOSE, go_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

WITHIN: Final = 120.0  # seconds, on a saturated machine


def command() -> list[str]:
    """The command: the one that is there, or else one built with Go."""
    if shutil.which("docker"):
        found = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        if found.returncode == 0:
            return ["docker", "compose"]
    return [str(go_tool(COMPOSE, "docker-compose"))]


@contextmanager
def project(
    compose: Sequence[str], files: Sequence[str], images: Mapping[str, str], folder: Path
) -> Iterator[Callable[..., str]]:
    """Have a project up, and give what runs compose on it. ``images``: by service."""
    services = {service: {"image": image, "pull_policy": "never"} for service, image in images.items()}
    (folder / "images.yaml").write_text(yaml.safe_dump({"services": services}))
    name = f"mqbridge-test-{secrets.token_hex(4)}"
    environ = {**os.environ, "BRIDGE_PORT": "0", "BRIDGE_PASSCODE": "b" * 16, "WORKER_PASSCODE": "w" * 16}
    given = [
        part for file in (*(ROOT / one for one in files), folder / "images.yaml") for part in ("--file", str(file))
    ]

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*compose, "--project-name", name, "--project-directory", str(ROOT), *given, *arguments],
            cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        try:
            run("up", "--detach", "--no-build", "--wait", "--wait-timeout", "120")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{run('logs', '--tail', '40')}") from None
        yield run
    finally:
        run("down", "--volumes", "--timeout", "40")


def answered(run: Callable[..., str]) -> dict[str, object]:
    """Call until the demo's worker answers; what is refused meanwhile is a definite answer."""
    address = run("port", "bridge", "8080").strip()
    end = time.monotonic() + WITHIN
    while True:
        status, body = _call(f"http://{address}/texts")
        if status == 200:
            answer: dict[str, object] = json.loads(body)
            return answer
        assert status in (502, 503), body
        assert time.monotonic() < end, body
        time.sleep(0.2)


def _call(url: str) -> tuple[int, bytes]:
    request = urllib.request.Request(url, b"one two two", {"Content-Type": "text/plain"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
