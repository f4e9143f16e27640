"""Programs that tests use and that Debian does not have: built by Go, once, and kept."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import pytest

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "activemq-rest-bridge" / "tools"
KUBECONFORM: Final = "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0"
KUSTOMIZE: Final = "sigs.k8s.io/kustomize/kustomize/v5@v5.8.0"
COMPOSE: Final = "github.com/docker/compose/v2/cmd@v2.40.3"


def go_tool(package: str, name: str) -> Path:
    """Return a program by its Go package and version, built if it is not there yet (some minutes, the first time).

    Without Go, or without a network the first time, the test is skipped on a laptop and fails in CI.
    """
    program = CACHE / f"{name}-{package.rpartition('@')[2]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once build it once
        if not program.exists():
            _build(package, program)
    return program


def _build(package: str, program: Path) -> None:
    if shutil.which("go") is None:
        return unavailable(f"{program.name} is built with Go, which is not installed")
    environ = {"GOTOOLCHAIN": "auto", **os.environ}  # Debian's Go would not fetch the newer one that a tool asks for
    with tempfile.TemporaryDirectory() as scratch:
        # A module of its own, because `go install` refuses packages whose module replaces others (compose).
        steps = (
            ["go", "mod", "init", "example.com/tools"],
            ["go", "get", package],
            ["go", "build", "-o", str(program.with_suffix(".new")), package.partition("@")[0]],
        )
        for step in steps:
            done = subprocess.run(step, cwd=scratch, env=environ, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                return unavailable(f"{' '.join(step[:3])}: {done.stderr[-500:]} (is the network up?)")
    program.with_suffix(".new").rename(program)
    return None


def unavailable(why: str) -> None:
    if os.environ.get("CI"):
        raise RuntimeError(why)
    pytest.skip(why)
