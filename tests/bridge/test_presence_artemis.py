"""Who listens, where ActiveMQ Artemis is asked: what it cannot answer is not known, and no call is refused for it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from activemq.embedded import Login, Role
from bridge.presence import UNKNOWN
from bridge.settings import Route
from tests.bridge.callers import until
from tests.bridge.harness import running, settings_for
from tests.bridge.test_contract_presence import Listener, known, routes_for, state


@pytest.fixture
def artemis(brokers):
    return brokers.get("artemis")


@pytest.mark.parametrize("destination", ["{}.*", "{}.#"])
async def test_a_consumer_of_a_pattern_makes_it_unknown_who_listens(artemis, queue, destination) -> None:
    base = queue(f"pattern{len(destination)}{destination[-1] == '#'}")
    routes = [Route(name="several", path="/several", queue=f"{base}.new", timeout=20.0)]
    async with running(settings_for(artemis, routes), "uvicorn") as bridge:
        await known(bridge)
        assert (await bridge.call("/several")).name == "no-worker"
        worker = Listener(artemis, destination.format(base))
        await worker.come()
        assert (await bridge.call("/several")).status == 200
        assert state(bridge, f"{base}.new").listeners == UNKNOWN
        await worker.leave("disconnect")

        def asked_again() -> bool:
            bridge.bridge._lookout._last_roll = 0.0  # as if half a minute had passed
            return state(bridge, f"{base}.new").sure

        await until(asked_again, "nobody listens any more")
        assert (await bridge.call("/several")).name == "no-worker"


async def test_a_login_that_may_not_ask_is_told_so_once_and_refuses_nobody(own_broker, caplog) -> None:
    """A worker's rights, and those on all queues: enough to serve calls, not to ask the management address."""
    broker = await own_broker(kind="artemis", other_logins=[Login("plain", "secret", frozenset({Role.WORKER}))])
    xml = broker.data_dir / "etc" / "broker.xml"
    rights = xml.read_text().replace('"activemq.management"', '"activemq.elsewhere"')
    who = SimpleNamespace(stomp_port=broker.stomp_port, login=broker.login, passcode=broker.passcode)
    await broker.stop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("activemq.embedded.launcher.render", lambda kind, _: {"etc/broker.xml": rights})
        await broker.start()
    async with running(
        settings_for(who, routes_for(lambda name: name, "q", timeout=0.5)), "uvicorn", connected=False
    ) as bridge:
        await until(lambda: "does not tell who listens" in caplog.text, "it is told")
        assert not bridge.bridge.presence.known
        assert (await bridge.call("/q")).name == "deadline"  # nobody works, and nobody says so
        worker = Listener(broker, "q")
        await worker.come()
        assert (await bridge.call("/q")).status == 200
        await worker.leave("disconnect")
        assert bridge.bridge.client.generation == bridge.bridge._side.generation == 1
