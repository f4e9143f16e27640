"""Our Dockerfile: bridge, worker and broker in three containers on one network, as somebody would run them."""

from __future__ import annotations

import json
import secrets
import tarfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.containers import images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import docker
    from docker.models.containers import Container

WITHIN = 60.0  # seconds, on a saturated machine
SLOW = b"""
import time
from pathlib import Path

from consumers import Worker

worker = Worker("slow")

@worker.handler("demo.slow")
def slow(text: str) -> str:
    Path("/tmp/begun").touch()
    time.sleep(float(text))
    return "done"
"""
ROUTE = b"""
[[route]]
name = "slow"
path = "/slow"
queue = "demo.slow"
timeout = "30s"
"""


class Site:
    """Broker, bridge and worker."""

    def __init__(self, broker: Any, bridge: Any, worker: Any) -> None:
        self.broker, self.bridge, self.worker = (one.get_wrapped_container() for one in (broker, bridge, worker))
        self.url = f"http://{bridge.get_container_host_ip()}:{bridge.get_exposed_port(8080)}"

    def call(self, path: str, body: bytes) -> tuple[int, bytes]:
        request = urllib.request.Request(self.url + path, body, {"Content-Type": "text/plain"})
        try:
            with urllib.request.urlopen(request, timeout=WITHIN) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()


@pytest.fixture
def site(built: dict[str, str], classic_image: str, tmp_path: Path) -> Iterator[Site]:
    """All three, well; the two of ours as they should be run: nothing to write but what is named."""
    from testcontainers.core.container import DockerContainer  # reads its settings when it is imported
    from testcontainers.core.network import Network

    passcodes = {"BRIDGE_PASSCODE": secrets.token_hex(8), "WORKER_PASSCODE": secrets.token_hex(8)}
    hardened = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]}
    deploy = images.ROOT / "deploy"
    settings = _file(tmp_path, "bridge.toml", (deploy / "bridge.toml").read_bytes() + ROUTE)
    with ExitStack() as stack:
        network = stack.enter_context(Network())

        def started(image: str, alias: str) -> DockerContainer:
            return DockerContainer(image).with_network(network).with_network_aliases(alias)

        broker = (
            started(classic_image, "broker")
            .with_command(["activemq", "console", "xbean:file:/etc/mqbridge/activemq.xml"])
            .with_envs(BROKER_DATA="/opt/apache-activemq/data", **passcodes)
            .with_copy_into_container((deploy / "activemq.xml").read_bytes(), "/etc/mqbridge/activemq.xml")
        )
        worker = (
            started(built["worker"], "worker")
            .with_command("work slow:worker --broker stomp://broker:61613 --login worker --concurrency 2")
            .with_envs(MQBRIDGE_BROKER__PASSCODE=passcodes["WORKER_PASSCODE"])
            .with_volume_mapping(_file(tmp_path, "slow.py", SLOW), "/app/slow.py")
            .with_tmpfs_mount("/tmp")
            .with_kwargs(**hardened)
        )
        bridge = (
            started(built["bridge"], "bridge")
            .with_envs(MQBRIDGE_BROKER__PASSCODE=passcodes["BRIDGE_PASSCODE"])
            .with_volume_mapping(settings, "/etc/mqbridge/bridge.toml")
            .with_tmpfs_mount("/tmp")
            .with_kwargs(**hardened)
        )
        bridge.ports = {"8080/tcp": ("127.0.0.1",)}
        bridge.with_tmpfs_mount("/var/lib/mqbridge", "size=16m,uid=10001,gid=10001")
        for one in (broker, worker, bridge):
            stack.enter_context(one)
        site = Site(broker, bridge, worker)
        until(lambda: health(site.worker) == health(site.bridge) == "healthy", "bridge and worker healthy", site)
        yield site


def _file(folder: Path, name: str, content: bytes) -> Path:
    file = folder / name
    file.write_bytes(content)
    return file


def until(condition: Callable[[], Any], what: str, site: Site) -> None:
    end = time.monotonic() + WITHIN
    while not condition():
        if time.monotonic() > end:
            logs = "\n".join(one.logs(tail=20).decode() for one in (site.broker, site.bridge, site.worker))
            raise AssertionError(f"{what}: did not happen in {WITHIN:g} s\n{logs}")
        time.sleep(0.1)


def health(container: Container) -> str:
    container.reload()
    return str(container.attrs["State"]["Health"]["Status"])


def test_a_call_goes_through_three_containers_and_nothing_runs_as_root_or_can_be_written(site: Site):
    status, body = site.call("/slow", b"0")
    assert (status, body) == (200, b"done"), site.bridge.logs().decode()

    for container in (site.bridge, site.worker):
        assert (
            container.exec_run(["python3", "-c", "import os; print(os.getuid(), os.getgid())"]).output
            == b"10001 10001\n"
        )
        for place in ("/app/x", "/opt/mqbridge/x", "/etc/x", "/home/x"):
            written = container.exec_run(["python3", "-c", f"open('{place}', 'w')"])
            assert written.exit_code == 1
            assert b"Read-only file system" in written.output or b"No such file" in written.output


@pytest.mark.parametrize("who", ["bridge", "worker"])
def test_one_that_is_told_to_stop_finishes_what_it_has_and_ends_with_0(site: Site, who: str):
    answers: list[tuple[int, bytes]] = []
    caller = threading.Thread(target=lambda: answers.append(site.call("/slow", b"3")))
    caller.start()
    until(lambda: busy(site), "the call is held", site)
    container = getattr(site, who)

    container.stop(timeout=40)
    caller.join()

    container.reload()
    assert answers == [(200, b"done")]
    assert container.attrs["State"]["ExitCode"] == 0, container.logs().decode()


def busy(site: Site) -> bool:
    """Whether the worker has begun with the call."""
    return site.worker.exec_run(["cat", "/tmp/begun"]).exit_code == 0


def test_a_worker_whose_broker_is_away_is_alive_and_not_ready(site: Site):
    ready = ["python3", "-I", "-S", "/opt/mqbridge/health.py", "--ready", "/tmp/mqbridge-health"]
    assert site.worker.exec_run(ready).exit_code == 0

    site.broker.kill()
    until(lambda: site.worker.exec_run(ready).exit_code == 1, "the worker is not ready", site)

    alive = site.worker.exec_run([part for part in ready if part != "--ready"])
    assert alive.exit_code == 0, alive.output


@pytest.mark.parametrize("target", ["bridge", "worker"])
def test_the_image_has_no_build_tools_and_no_secrets(engine: docker.DockerClient, built: dict[str, str], target: str):
    container = engine.containers.create(built[target])
    try:
        with tarfile.open(fileobj=_Stream(container.export()), mode="r|") as tar:
            names = {member.name for member in tar if member.name.startswith(("opt/mqbridge", "app", "build"))}
    finally:
        container.remove()

    assert {
        name for name in names if name.endswith(("/bin/pip", "/bin/hatchling", ".lock", ".git", "pyproject.toml"))
    } == set()
    assert not any(name.startswith("build") for name in names)
    assert "opt/mqbridge/bin/mqbridge" in names


class _Stream:
    """Chunks as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (more := next(self._chunks, b"")):
            self._rest += more
        given, self._rest = self._rest[:size], self._rest[size:]
        return given


def test_what_the_image_says_of_itself(engine: docker.DockerClient, built: dict[str, str]):
    for target, image in built.items():
        config = engine.images.get(image).attrs["Config"]
        assert config["User"] == "10001:10001"
        assert config["StopSignal"] == "SIGTERM"
        assert "/opt/mqbridge/health.py" in json.dumps(config["Healthcheck"]["Test"]), target
