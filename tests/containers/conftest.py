"""A Docker engine, images for it, and what testcontainers has to know of them."""

from __future__ import annotations

import gc
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.containers import images
from tests.containers.engine import docker_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.containers)
            item.add_marker(pytest.mark.timeout(900))  # the first of them builds the images
            # docker-py leaves connections to the engine to the garbage collector (seen after a pull that failed).
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"))


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """The Docker engine of this session."""
    before = dict(os.environ)
    # Its reaper is an image of its own, which would be pulled; what we start ends with its test.
    os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"
    # The engine is on this machine, even if we are in a container ourselves.
    os.environ["TESTCONTAINERS_CONNECTION_MODE"] = "docker_host"
    try:
        with docker_engine() as client:
            yield client
    finally:
        with warnings.catch_warnings():  # as above, so that none of it is laid at the door of a later test
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="session")
def classic_image(engine: docker.DockerClient, scratch: Path) -> str:
    """An image of ActiveMQ Classic."""
    return images.classic(engine, scratch)


@pytest.fixture(scope="session")
def artemis_image(engine: docker.DockerClient, scratch: Path) -> str:
    """An image of ActiveMQ Artemis."""
    return images.artemis(engine, scratch)


@pytest.fixture(scope="session")
def built(engine: docker.DockerClient, scratch: Path) -> dict[str, str]:
    """Our images, by their stages."""
    line = next(line for line in (images.ROOT / "Dockerfile").read_text().splitlines() if line.startswith("ARG BASE="))
    base = images.python_base(engine, line.removeprefix("ARG BASE="), scratch)
    return {target: images.build_ours(engine, base, target) for target in ("bridge", "worker")}
