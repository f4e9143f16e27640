"""A broker in a container, started by testcontainers: our bridge and workers serve through it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from activemq.errors import BrokerStartError
from activemq.testing.container import container
from bridge.settings import Route
from consumers import Worker
from tests.bridge.callers import PATIENCE
from tests.bridge.harness import running, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activemq.testing.real import RealBroker


@pytest.fixture(scope="module", params=["classic", "artemis"])
def contained(request: pytest.FixtureRequest) -> Iterator[RealBroker]:
    with container(request.param, image=request.getfixturevalue(f"{request.param}_image")) as broker:
        yield broker


class Addressed:
    """What the bridge's harness asks of a broker."""

    def __init__(self, broker: RealBroker) -> None:
        self.stomp_port = broker.server.port
        self.login, self.passcode = broker.login, broker.passcode


async def test_a_bridge_and_a_worker_serve_a_call_through_it(contained: RealBroker):
    worker = Worker("contained")

    @worker.handler("contained.words")
    async def words(text: str) -> dict[str, int]:
        return {"words": len(text.split())}

    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(worker.run(contained.client(), 2, stop, ready.set))
    route = Route(name="words", path="/words", queue="contained.words", timeout=PATIENCE)
    try:
        async with asyncio.timeout(PATIENCE):
            await ready.wait()
        async with running(settings_for(Addressed(contained), [route]), "uvicorn") as bridge:
            response = await bridge.call("/words", b"one two two", headers=[("Content-Type", "text/plain")])
    finally:
        stop.set()
        await task

    assert (response.status, json.loads(response.body)) == (200, {"words": 3})


def test_it_is_published_on_loopback_only(contained: RealBroker):
    assert contained.server.host in ("localhost", "127.0.0.1")


def test_it_lets_nobody_in_without_the_passcode(contained: RealBroker):
    from activemq.testing.real import existing

    with pytest.raises(BrokerStartError, match="no login"), existing(contained.stomp_url, "bridge", "no", timeout=2):
        pass


def test_one_that_ends_at_once_says_why(classic_image: str):
    with (
        pytest.raises(BrokerStartError, match=r"the end of its log:\ncannot execute"),
        container(image=classic_image, entrypoint=["/bin/bash", "-c", "echo cannot execute; exit 3"]),
    ):
        pass


def test_it_is_of_its_kind(contained: RealBroker):
    async def kind() -> str:
        async with contained.client() as client, asyncio.timeout(PATIENCE):
            await client.wait_connected()
            return client.profile.kind

    assert asyncio.run(kind()) == contained.kind


@pytest.mark.parametrize("kind", ["classic", "artemis"])
def test_the_pytest_plugin_starts_one(kind: str, request: pytest.FixtureRequest, pytester: pytest.Pytester):
    options = {
        "asyncio_mode": "auto",
        "activemq_broker": "container",
        "activemq_kind": kind,
        "activemq_image": request.getfixturevalue(f"{kind}_image"),
    }
    pytester.makeini("[pytest]\n" + "".join(f"{name} = {value}\n" for name, value in options.items()))
    pytester.makepyfile(f"""
        async def test_a_login(activemq_broker):
            async with activemq_broker.client() as client:
                await client.wait_connected()
                assert client.profile.kind == {kind!r}
    """)

    pytester.runpytest_subprocess().assert_outcomes(passed=1)
