"""Who listens, on a real ActiveMQ: workers that come and go in every way, and what callers are told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from activemq import Client
from activemq.embedded import EmbeddedBroker, Login, Role
from activemq.frames import encode
from bridge.presence import UNKNOWN
from bridge.settings import Route
from tests.bridge.callers import until
from tests.bridge.harness import NO_STORE, Running, ToldWorker, client_for, running, settings_for

pytestmark = pytest.mark.every_broker


class Listener:
    """A worker that answers at once, on a connection that can be ended in every way."""

    def __init__(self, broker: Any, destination: str) -> None:
        self.client: Client = client_for(broker)
        self._receipts = 0
        self._headers = {"destination": f"/queue/{destination}", "ack": "client-individual"}
        self.subscribe()

    def subscribe(self) -> None:
        self.subscription = self.client.subscribe(lambda _: self._headers, self._answer)

    def unsubscribe(self) -> None:
        self.client.unsubscribe(self.subscription)

    async def confirmed(self) -> None:
        """Return when all that was sent so far is done: what comes after it on the same connection is confirmed."""
        self._receipts += 1
        receipt = f"r{self._receipts}"
        begin = encode("BEGIN", [("transaction", receipt), ("receipt", receipt)])
        await self.client.request_receipt(begin, receipt, timeout=20)

    async def come(self) -> None:
        """Return once the broker has confirmed the subscription."""
        await self.client.start()
        await self.client.wait_connected()
        assert self.subscription.error is None

    def _answer(self, frame: Any) -> None:
        fields = [("destination", frame.get("reply-to")), ("correlation-id", frame.get("correlation-id"))]
        with contextlib.suppress(Exception):  # it is leaving
            self.client.send(encode("SEND", fields, b"done"))
            self.client.ack(frame, self.client.generation)

    async def leave(self, how: str) -> None:
        if how == "unsubscribe":
            self.unsubscribe()
            await self.confirmed()
        elif how == "reset":
            connection = self.client._connection
            assert connection is not None
            supervising = self.client._supervising
            assert supervising is not None
            supervising.cancel()
            assert connection._socket is not None
            connection._transport.abort()
        await self.client.stop()


WAYS = ("disconnect", "unsubscribe", "reset")


def routes_for(queue: Any, *names: str, **options: Any) -> list[Route]:
    return [Route(name=name, path=f"/{name}", queue=queue(name), **{"timeout": 20.0, **options}) for name in names]


def state(bridge: Running, name: str) -> Any:
    return bridge.bridge.presence[name]


async def known(bridge: Running) -> None:
    await until(lambda: bridge.bridge.presence.known, "who listens is known")


# -- nobody, somebody


async def test_nobody_listens_is_a_503_at_once(broker, queue, implementation):
    async with running(settings_for(broker, routes_for(queue, "none")), implementation) as bridge:
        await known(bridge)
        response = await bridge.call("/none")
        assert (response.status, response.name, response.problem["ran"]) == (503, "no-worker", "no")
        assert 1 <= int(response.get("retry-after")) <= 60
        await bridge.at_rest()


async def test_nobody_is_no_reason_not_to_be_ready(broker, queue):
    async with running(settings_for(broker, routes_for(queue, "none")), "uvicorn") as bridge:
        await known(bridge)
        assert (await bridge.call("/-/ready", None, method="GET")).status == 200


@pytest.mark.parametrize("way", WAYS)
async def test_who_comes_is_seen_by_the_next_call_and_who_leaves_soon(broker, queue, way):
    async with running(settings_for(broker, routes_for(queue, "one")), "uvicorn") as bridge:
        await known(bridge)
        for _ in range(5):
            worker = Listener(broker, queue("one"))
            await worker.come()
            assert (await bridge.call("/one")).status == 200
            await worker.leave(way)
            await until(lambda: state(bridge, queue("one")).sure, "nobody listens any more")
            assert (await bridge.call("/one")).name == "no-worker"


@pytest.mark.parametrize("destination", ["{}.>", "{}.*", "{}.new,unrelated", "{}.new?consumer.exclusive=true"])
async def test_a_worker_of_several_queues_is_seen(broker, queue, destination):
    if broker.kind != "classic":
        pytest.skip("only ActiveMQ Classic has such destinations; Artemis's wildcards have a test of their own")
    base = queue(f"several{len(destination)}")
    routes = [Route(name="several", path="/several", queue=f"{base}.new", timeout=20.0)]
    async with running(settings_for(broker, routes), "uvicorn") as bridge:
        await known(bridge)
        assert (await bridge.call("/several")).name == "no-worker"
        worker = Listener(broker, destination.format(base))
        await worker.come()
        assert (await bridge.call("/several")).status == 200
        await worker.leave("disconnect")
        await until(lambda: state(bridge, f"{base}.new").sure, "nobody listens any more")


async def test_workers_that_are_there_before_the_bridge_are_seen(broker, queue):
    workers = [Listener(broker, queue("early")) for _ in range(3)]
    for worker in workers:
        await worker.come()
    async with running(settings_for(broker, routes_for(queue, "early")), "uvicorn") as bridge:
        await known(bridge)
        assert state(bridge, queue("early")).listeners == 3
        assert (await bridge.call("/early")).status == 200
    for worker in workers:
        await worker.leave("disconnect")


async def test_a_call_that_waits_when_its_only_worker_leaves_waits_on(broker, queue):
    async with running(settings_for(broker, routes_for(queue, "left", timeout=1.0)), "uvicorn") as bridge:
        await known(bridge)
        async with ToldWorker(broker, queue("left")) as worker:
            waiting = asyncio.create_task(bridge.call("/left"))
            await worker.request(queue("left"))
        await until(lambda: state(bridge, queue("left")).sure, "nobody listens any more")
        assert not waiting.done()
        assert (await waiting).name == "deadline"


@pytest.mark.parametrize("seed", range(3))
async def test_no_idle_worker_is_overlooked_while_others_come_and_go(broker, queue, seed):
    """The model is the truth: a worker is there from its confirmation until it begins to leave."""
    chance = random.Random(seed)
    name = f"walk{seed}"
    there: list[Listener] = []
    busy = 0

    async def come_and_go(number: int) -> None:
        nonlocal busy
        for _ in range(25):
            worker = Listener(broker, queue(name))
            await worker.come()
            there.append(worker)
            await asyncio.sleep(chance.uniform(0, 0.03))
            there.remove(worker)
            busy += 1
            await worker.leave(chance.choice(WAYS))
            busy -= 1
            await asyncio.sleep(chance.uniform(0, 0.03))

    async def call() -> None:
        while not all(task.done() for task in walks):
            before = set(there)
            response = await bridge.call(f"/{name}")
            if before & set(there):  # one that was there all the time
                assert response.status == 200, response.name
            seen.add(response.status)

    seen: set[int] = set()
    async with running(settings_for(broker, routes_for(queue, name, timeout=2.0)), "uvicorn") as bridge:
        await known(bridge)
        walks = [asyncio.create_task(come_and_go(number)) for number in range(2)]
        await asyncio.gather(*(call() for _ in range(4)), *walks)
        assert {200, 503} <= seen
        await until(lambda: state(bridge, queue(name)).sure, "nobody listens any more")
        assert (await bridge.call(f"/{name}")).name == "no-worker"
        await bridge.at_rest()


async def test_of_a_worker_that_comes_as_another_leaves_the_zero_may_come_last(broker, queue):
    """Classic makes and sends its events from many threads: of 3,804 such changes in 25 the last event said that
    nobody listens [6.3.1]."""
    async with running(settings_for(broker, routes_for(queue, "change", timeout=2.0)), "uvicorn") as bridge:
        await known(bridge)
        there, next_one = Listener(broker, queue("change")), Listener(broker, queue("change"))
        await there.come()
        await next_one.come()
        next_one.unsubscribe()
        for _ in range(400):
            next_one.subscribe()
            there.unsubscribe()
            there, next_one = next_one, there
            await there.confirmed()
            assert (await bridge.call("/change")).status == 200
        for worker in (there, next_one):
            await worker.leave("disconnect")


WORKER = """
import asyncio, sys
from tests.bridge.test_contract_presence import Listener
class Broker:
    stomp_port, login, passcode = int(sys.argv[1]), sys.argv[2], sys.stdin.readline().strip()
async def main():
    worker = Listener(Broker, sys.argv[3])
    await worker.come()
    print("there", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_a_killed_worker_is_missed_soon(broker, queue):
    async with running(settings_for(broker, routes_for(queue, "killed")), "uvicorn") as bridge:
        await known(bridge)
        for _ in range(3):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", WORKER, str(broker.stomp_port), broker.login, queue("killed"),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."},
            )  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{broker.passcode}\n".encode())
            await process.stdin.drain()
            assert await process.stdout.readline() == b"there\n"
            assert (await bridge.call("/killed")).status == 200
            process.send_signal(signal.SIGKILL)
            await process.wait()
            await until(lambda: state(bridge, queue("killed")).sure, "nobody listens any more")
            assert (await bridge.call("/killed")).name == "no-worker"


async def test_workers_and_bridge_need_no_rights_but_their_own(own_broker):
    """The roles of our configurations: workers may neither read nor write advisories, the bridge may not administer."""
    logins = [Login("just-bridge", "one-secret", frozenset({Role.BRIDGE})),
              Login("just-worker", "two-secret", frozenset({Role.WORKER}))]  # fmt: skip
    broker = await own_broker(other_logins=logins, worker_queues=["theirs"])
    one, other = (
        SimpleNamespace(stomp_port=broker.stomp_port, login=who.name, passcode=who.passcode) for who in logins
    )
    routes = [Route(name="theirs", path="/theirs", queue="theirs", timeout=20.0)]
    async with running(settings_for(one, routes), "uvicorn") as bridge:
        await known(bridge)
        assert (await bridge.call("/theirs")).name == "no-worker"
        worker = Listener(other, "theirs")
        await worker.come()
        assert (await bridge.call("/theirs")).status == 200
        await worker.leave("disconnect")
        await until(lambda: state(bridge, "theirs").sure, "nobody listens any more")


# -- several bridges, a broker that restarts, one that does not tell


async def test_each_of_two_bridges_sees_the_same(broker, queue):
    settings = settings_for(broker, routes_for(queue, "two"))
    async with running(settings, "uvicorn") as one, running(settings, "hypercorn") as other:
        await known(one)
        await known(other)
        worker = Listener(broker, queue("two"))
        await worker.come()
        for bridge in (one, other):
            assert (await bridge.call("/two")).status == 200
        await worker.leave("disconnect")
        for bridge in (one, other):
            await until(lambda bridge=bridge: state(bridge, queue("two")).sure, "nobody listens any more")
            assert (await bridge.call("/two")).name == "no-worker"


async def test_after_a_restart_of_the_broker_nothing_is_taken_for_known_that_is_not(own_broker):
    broker = await own_broker()
    routes = [Route(name="q", path="/q", queue="q", timeout=5.0)]
    async with running(settings_for(broker, routes), "uvicorn") as bridge:
        await known(bridge)
        worker = Listener(broker, "q")
        await worker.come()
        assert (await bridge.call("/q")).status == 200
        await broker.kill()
        await until(lambda: state(bridge, "q").listeners == UNKNOWN, "it is unknown")
        assert (await bridge.call("/q")).name == "broker-unavailable"
        await broker.start()
        await worker.client.wait_connected()
        while not bridge.bridge.presence.known:
            response = await bridge.call("/q")
            assert response.status == 200 or response.name == "broker-unavailable"
        assert (await bridge.call("/q")).status == 200
        await worker.leave("disconnect")
        await until(lambda: state(bridge, "q").sure, "nobody listens any more")


async def test_when_only_the_second_connection_is_lost_no_call_is_refused(broker, queue):
    async with running(settings_for(broker, routes_for(queue, "side", timeout=1.0)), "uvicorn") as bridge:
        await known(bridge)
        assert (await bridge.call("/side")).name == "no-worker"
        side = bridge.bridge._side
        side._connection.abort(ConnectionError("cut"))
        await until(lambda: state(bridge, queue("side")).listeners == UNKNOWN, "it is unknown")
        await known(bridge)
        assert (await bridge.call("/side")).name == "no-worker"


async def test_two_brokers_that_know_nothing_of_each_other(own_broker):
    """The calls' connection is at one, the second at another: what that one says is of no worth."""
    first, second = await own_broker(), await own_broker()
    routes = [Route(name="q", path="/q", queue="q", timeout=0.5)]
    async with running(settings_for(first, routes), "uvicorn") as bridge:
        await known(bridge)
        side: Client = bridge.bridge._side
        there = client_for(second)
        side._supervisor._servers, side._credentials = there._supervisor._servers, there._credentials
        generation = side.generation
        side._connection.abort(ConnectionError("cut"))
        await until(lambda: side.connected and side.generation > generation, "it is at the other")
        lookout = bridge.bridge._lookout
        for _ in range(3):  # it tries
            lookout._tick()
            assert (await bridge.call("/q")).name == "deadline"
        assert not bridge.bridge.presence.known


# -- scale from zero


async def test_a_call_waits_for_its_first_worker(broker, queue):
    async with running(settings_for(broker, routes_for(queue, "wait", worker_wait=20.0)), "uvicorn") as bridge:
        await known(bridge)
        calls = [asyncio.create_task(bridge.call("/wait")) for _ in range(5)]
        await bridge.held(5)
        worker = Listener(broker, queue("wait"))
        await worker.come()
        assert [response.status for response in await asyncio.gather(*calls)] == [200] * 5
        await worker.leave("disconnect")
        await bridge.at_rest()


async def test_a_call_whose_worker_comes_too_late_is_told_and_taken_back(broker, queue):
    async with running(settings_for(broker, routes_for(queue, "late", worker_wait=0.2)), "uvicorn") as bridge:
        await known(bridge)
        async with ToldWorker(broker, "unrelated") as cancels:
            told: list[Any] = []
            topic = {"destination": "/topic/bridge.cancel", "ack": "auto"}
            cancels.client.subscribe(lambda _: topic, told.append)
            # After it on the same connection: the subscription is in place.
            await cancels.send("/queue/unrelated", {}, b"", text=True)
            response = await bridge.call("/late")
            assert (response.status, response.name, response.problem["ran"]) == (503, "no-worker", "maybe")
            await until(lambda: told, "the cancel")
            assert told[0].get("correlation-id") == response.get("correlation-id")
        await bridge.at_rest()


async def test_a_worker_that_comes_in_time_and_is_slow_has_the_whole_timeout(broker, queue):
    routes = routes_for(queue, "slow", worker_wait=0.2)
    async with running(settings_for(broker, routes), "uvicorn") as bridge:
        await known(bridge)
        calling = asyncio.create_task(bridge.call("/slow"))
        await bridge.held(1)
        async with ToldWorker(broker, queue("slow")) as worker:
            request = await worker.request(queue("slow"))
            # Nothing is left that could end it before its deadline.
            await until(lambda: not any("_wait_for_first_worker" in repr(task) for task in asyncio.all_tasks()))
            assert not calling.done()
            await worker.reply(request, b"late")
            assert (await calling).body == b"late"


# -- too much


async def test_the_backlog_is_what_has_no_answer_yet(broker, queue):
    routes = [
        Route(name="full", path="/full", queue=queue("full"), timeout=20.0, max_backlog=3),
        Route(name="same", path="/same", queue=queue("full"), timeout=20.0, max_backlog=5),
    ]
    async with (
        ToldWorker(broker, queue("full")) as worker,
        running(settings_for(broker, routes), "uvicorn") as bridge,
    ):
        held = [asyncio.create_task(bridge.call("/full")) for _ in range(3)]
        await bridge.held(3)
        response = await bridge.call("/full")
        assert (response.status, response.name, response.problem["ran"]) == (503, "queue-full", "no")
        assert 1 <= int(response.get("retry-after")) <= 60
        # The other route is of the same queue, and allows more.
        held += [asyncio.create_task(bridge.call("/same")) for _ in range(2)]
        await bridge.held(5)
        assert (await bridge.call("/same")).name == "queue-full"
        for _ in range(3):
            await worker.reply(await worker.request(queue("full")))
        await bridge.held(2)
        held.append(asyncio.create_task(bridge.call("/full")))
        for _ in range(3):
            await worker.reply(await worker.request(queue("full")))
        assert [response.status for response in await asyncio.gather(*held)] == [200] * 6
        await bridge.at_rest()


async def test_the_first_that_fails_answers(own_broker):
    """`broker-unavailable`, then `no-worker`, then `queue-full`."""
    broker: EmbeddedBroker = await own_broker()
    routes = [Route(name="q", path="/q", queue="q", timeout=20.0, max_backlog=1)]
    async with running(settings_for(broker, routes, store=NO_STORE), "uvicorn") as bridge:
        await known(bridge)
        async with ToldWorker(broker, "q") as worker:
            held = asyncio.create_task(bridge.call("/q"))
            await worker.request("q")
            assert (await bridge.call("/q")).name == "queue-full"
        await until(lambda: state(bridge, "q").sure, "nobody listens any more")
        assert (await bridge.call("/q")).name == "no-worker"
        headers = (("Prefer", "respond-async"),)
        assert (await bridge.call("/q", headers=headers)).name == "store-unavailable"
        await broker.kill()
        assert (await held).name == "broker-lost"
        assert (await bridge.call("/q")).name == "broker-unavailable"
        assert (await bridge.call("/q", headers=headers)).name == "store-unavailable"
