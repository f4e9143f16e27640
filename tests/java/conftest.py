"""Java programs beside the bridge: the examples, built once a session by Maven, and a probe that does as it is told."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.bridge.conftest import queue
from tests.java.programs import Java, Program, environment_of

__all__ = ["queue"]

ROOT = Path(__file__).parents[2]
PROBE = Path(__file__).parent / "src" / "example" / "Probe.java"
BUILD_WITHIN = 900.0  # seconds; the first build fetches 110 MB
Start = Callable[..., Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "java" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.java)
            item.add_marker(pytest.mark.timeout(BUILD_WITHIN + 120))  # the first of them waits for the build


@pytest.fixture(scope="session")
def java(tmp_path_factory: pytest.TempPathFactory) -> Java:
    """The examples and the probe, built from a copy: nothing is left in the tree."""
    for tool in ("mvn", "javac"):
        if shutil.which(tool) is None:
            _skip_or_fail(f"{tool} is not installed (on Debian and Ubuntu: apt-get install maven default-jdk-headless)")
    folder = tmp_path_factory.mktemp("java") / "examples"
    shutil.copytree(ROOT / "examples" / "java", folder, ignore=shutil.ignore_patterns("target"))
    _run("mvn", "-B", "-q", "package", cwd=folder)
    built = Java(folder)
    _run("javac", "-encoding", "UTF-8", "-d", str(built.probe), "-cp", built.class_path, str(PROBE), cwd=folder)
    return built


def _run(*command: str, cwd: Path) -> None:
    done = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=BUILD_WITHIN
    )
    if done.returncode:
        output = done.stdout + done.stderr
        if "Could not transfer artifact" in output or "Unknown host" in output:
            _skip_or_fail(f"Maven cannot fetch what the examples need:\n{output[-2_000:]}")
        pytest.fail(f"{command[0]} failed:\n{output[-6_000:]}")


def _skip_or_fail(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@asynccontextmanager
async def _starting(java: Java) -> AsyncIterator[Start]:
    running: list[Program] = []

    async def begin(broker: Any, name: str, *arguments: str, says: str | None = "ready", **login: str) -> Program:
        program = await Program.start(java.command(name, *arguments), {**environment_of(broker), **login})
        running.append(program)
        if says is not None:
            await program.wait_for(says)
        return program

    yield begin
    for program in running:
        await program.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def start(java: Java) -> AsyncIterator[Start]:
    """``await start(broker, "plain-jms")`` or ``start(broker, "probe", …)``: a program that ends with its module."""
    async with _starting(java) as begin:
        yield begin


@pytest_asyncio.fixture
async def programs(java: Java) -> AsyncIterator[Start]:
    """The same for one test."""
    async with _starting(java) as begin:
        yield begin
