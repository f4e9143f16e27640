"""A Docker engine to test with: the one that is there, or else one of our own for as long as the tests run."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import docker
import docker.errors
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

START_WITHIN: Final = 60.0  # seconds, on a saturated machine
_PATH: Final = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_PREFIX: Final = "mqbridge-docker-"
_NEEDED: Final = ("dockerd", "containerd", "iptables", "setpriv")
HOW: Final = "start Docker, or run scripts/test as root, which installs and starts an engine of its own"


@contextmanager
def docker_engine() -> Iterator[docker.DockerClient]:
    """Give a client of an engine; what testcontainers needs to find it is in the environment meanwhile.

    On a laptop without one the test is skipped, in CI it fails.
    """
    present = _present()
    if present is not None:
        with closing(present):
            yield present
        return
    missing = [name for name in _NEEDED if shutil.which(name, path=_PATH) is None]
    if os.geteuid() != 0 or missing:
        why = f"no Docker engine answers ({', '.join(missing) or 'not root'}): {HOW}"
        if os.environ.get("CI"):
            raise RuntimeError(why)
        pytest.skip(why)
    with _only_one(), _own() as host, _environment(DOCKER_HOST=host):
        client = docker.DockerClient(base_url=host)
        try:
            yield client
        finally:
            for container in client.containers.list(all=True):
                container.remove(force=True, v=True)  # else the engine waits for each to end
            client.close()


def _present() -> docker.DockerClient | None:
    """Return a client of the engine that the environment names, or the system's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # docker-py leaves the socket of an attempt that failed
        client = None
        try:
            client = docker.from_env()
            client.ping()
        except (docker.errors.DockerException, OSError):
            if client is not None:
                client.close()
            client = None
        gc.collect()
    return client


@contextmanager
def _only_one() -> Iterator[None]:
    """Wait for other test runs on this machine: two engines would share the bridge ``docker0``."""
    with (Path(tempfile.gettempdir()) / "mqbridge-test-docker.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sweep() -> None:
    """Remove what runs that were killed have left: an engine ends with its run, its folder does not."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if not (folder / "pid").exists():  # dockerd removes it when it ends
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _own() -> Iterator[str]:
    """Run ``dockerd`` with a socket and a data folder of its own; it also ends should we be killed."""
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    host = f"unix://{folder}/socket"
    options = {"host": host, "data-root": folder / "data", "exec-root": folder / "exec", "pidfile": folder / "pid"}
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        # so that it ends with us, also if we are killed
        ["setpriv", "--pdeathsig", "TERM", "dockerd", *(f"--{name}={value}" for name, value in options.items())],
        env={**os.environ, "PATH": _PATH},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    log.close()
    try:
        _wait_for(host, process, folder / "log")
        yield host
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(host: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_WITHIN
    while True:
        assert process.poll() is None, f"dockerd ended:\n{log.read_text()[-3_000:]}"
        with suppress(Exception):  # not yet
            client = docker.DockerClient(base_url=host, timeout=5)
            try:
                client.ping()
            finally:
                client.close()
            return
        assert time.monotonic() < end, f"dockerd did not answer in {START_WITHIN:g} s:\n{log.read_text()[-3_000:]}"
        time.sleep(0.1)


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
