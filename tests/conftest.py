"""Real brokers for tests.

``broker`` is one ActiveMQ for the whole session; ``own_broker`` starts others that a test may kill and restart. Tests
that use either get the marker ``broker``, so ``pytest -m "not broker"`` leaves them out.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from activemq.embedded import EmbeddedBroker
from activemq.errors import ArtifactError
from activemq.testing.background import BackgroundLoop

if TYPE_CHECKING:
    from pathlib import Path

BROKER_FIXTURES = {"broker", "own_broker"}
OwnBroker = Callable[..., Awaitable[EmbeddedBroker]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kill-jobs", type=int, default=200, help="how many jobs the test that kills bridges makes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    without_jobs = []
    for item in items:
        parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if parameters.get("carrier") == "in-process" and item.get_closest_marker("jobs"):
            without_jobs.append(item)  # not part of what is promised there
        if BROKER_FIXTURES.intersection(getattr(item, "fixturenames", ())) or parameters.get("carrier") == "activemq":
            item.add_marker(pytest.mark.broker)
    if without_jobs:
        config.hook.pytest_deselected(items=without_jobs)
        items[:] = [item for item in items if item not in without_jobs]


def new_broker(**options: Any) -> EmbeddedBroker:
    """An ``EmbeddedBroker`` that finds Java where the shell that runs the tests would."""
    places = {"java_home": os.environ.get("JAVA_HOME"), "java_path": os.environ.get("PATH")}
    return EmbeddedBroker(**{**places, "quick": True, **options})


def skip_or_fail(error: ArtifactError) -> None:
    """No network and no jars: on a laptop that is a skip, in CI an error. All else that is wrong is always an error."""
    if os.environ.get("CI") or not error.reason.startswith("cannot be fetched"):
        raise error
    pytest.skip(
        f"no broker to test against ({error}). To enable these tests run scripts/test once with "
        "the network up: the jars are kept after that."
    )


@pytest.fixture(scope="session")
def broker() -> Iterator[EmbeddedBroker]:
    """The session's broker, started. Use its ``stomp_url``, ``stomp_port``, ``login`` and ``passcode``.

    Its methods belong to another loop: a test that wants to stop, kill or restart one takes ``own_broker``. Queues are
    shared by all tests of the session, so give them names of their own.
    """
    background = BackgroundLoop()
    running = new_broker()
    try:
        try:
            background.run(running.start())
        except ArtifactError as error:
            skip_or_fail(error)
        yield running
    finally:
        background.run(running.close())
        background.close()


@pytest.fixture
async def own_broker(tmp_path: Path) -> AsyncIterator[OwnBroker]:
    """``await own_broker(**options)`` starts a broker for this test alone; it ends with the test."""
    started: list[EmbeddedBroker] = []

    async def start(**options: Any) -> EmbeddedBroker:
        folder = tmp_path / f"broker-{len(started)}"
        fresh = new_broker(**{"data_dir": folder, **options})
        started.append(fresh)
        try:
            await fresh.start()
        except ArtifactError as error:
            skip_or_fail(error)
        return fresh

    yield start
    for one in started:
        await one.close()
