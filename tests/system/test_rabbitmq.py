"""What is RabbitMQ's own: least rights, queues that others declare, what cannot be had and what happens instead."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aio_pika
import pytest

from activemq import Client, Credentials, Server
from bridge.settings import Route
from consumers import Request, Worker
from tests.bridge.callers import PATIENCE, Caller, request, until
from tests.bridge.harness import running, settings_for
from tests.bridge.letters import ADMIN, BEARER, LETTERS
from tests.rabbitmq import RabbitMq, Rights

TEXT = (Path(__file__).parents[2] / "docs" / "brokers.md").read_text()


def documented(login: str) -> Rights:
    """The rights that docs/brokers.md gives to a login."""
    (line,) = re.findall(rf"^\$ rabbitmqctl set_permissions {login} (.*)$", TEXT, re.MULTILINE)
    configure, write, read = re.findall(r"'(.*?)'", line)
    return configure, write, read


@asynccontextmanager
async def working(broker: Any, worker: Worker, slots: int = 1, **options: Any) -> AsyncIterator[Client]:
    """A worker of ours at work, with options of its client."""
    vhost = getattr(broker, "vhost", "/")
    who = Credentials(broker.login, broker.passcode, vhost)
    client = Client([Server("127.0.0.1", broker.stomp_port)], who, **options)
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(worker.run(client, slots, stop, ready.set))
    async with asyncio.timeout(PATIENCE):
        await ready.wait()
    yield client
    stop.set()
    async with asyncio.timeout(PATIENCE):
        await task


def settings(broker: Any, routes: list[Route], **of_broker: Any) -> Any:
    made = settings_for(broker, routes)
    return made.model_copy(update={"broker": made.broker.model_copy(update=of_broker)})


def echo(queue: str) -> Worker:
    worker = Worker()

    @worker.handler(queue)
    async def echo(body: bytes) -> bytes:
        return body

    return worker


def as_login(broker: Any, login: str) -> Any:
    return SimpleNamespace(
        stomp_port=broker.stomp_port, login=login, passcode=broker.passcode, vhost=broker.vhost, kind=broker.kind
    )


async def test_the_documented_rights_are_enough_in_a_virtual_host_of_ones_own(
    own_broker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls, jobs, cancellations, attempts, dead letters: with no connection lost for a right that is missing."""
    rights = {login: documented(login) for login in ("bridge", "worker")}
    rights["narrow"] = tuple(right.replace("poison", "nothing") for right in rights["bridge"])
    broker: RabbitMq = await own_broker(kind="rabbitmq", other_logins=rights, vhost="shop")
    worker, begun, stopped = Worker(), asyncio.Event(), asyncio.Event()

    @worker.handler("orders")
    async def order(request: Request) -> str:
        if request.text() != "long":
            return request.text()
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    route = Route(name="orders", path="/orders", queue="orders", timeout=20.0, max_attempts=1)
    at = as_login(broker, "bridge")
    async with (
        running(settings(at, [route], vhost="shop").model_copy(update={"admin": ADMIN}), "uvicorn") as bridge,
        working(as_login(broker, "worker"), worker) as client,
    ):
        assert (await bridge.call("/orders", b"call")).body == b"call"
        made = await bridge.call("/orders", b"job", headers=(("prefer", "respond-async, wait=15"),))
        assert (made.status, made.body) == (200, b"job")
        async with await Caller.connect(bridge.port) as caller:
            await caller.send(request("/orders", b"long"))
            await asyncio.wait_for(begun.wait(), PATIENCE)
        await asyncio.wait_for(stopped.wait(), PATIENCE)  # the cancel topic
        await bridge.at_rest()
        generations = [client.generation, bridge.bridge.client.generation]
        # One that a worker was lost with is parked.
        url = broker.amqp_url.rstrip("/") + "/shop"
        async with await aio_pika.connect(url) as amqp:
            lost = await (await amqp.channel()).get_queue("orders", ensure=False)
            await client.stop()
            call = asyncio.create_task(bridge.call("/orders", b"bad"))
            async with asyncio.timeout(PATIENCE):
                while await lost.get(fail=False) is None:  # noqa: ASYNC110 - what is looked at cannot tell
                    await asyncio.sleep(0.01)
        await client.start()
        assert (await call).name == "poisoned"
        await until(lambda: client.connected)
        generations.append(bridge.bridge.client.generation)
        letters = await bridge.call(f"{LETTERS}?queue=orders.poison", None, method="GET", headers=(BEARER,))
        assert [letter["queue"] for letter in json.loads(letters.body)["letters"]] == ["orders.poison"]
        shelves = await bridge.call(LETTERS, None, method="GET", headers=(BEARER,))
        assert [shelf["queue"] for shelf in json.loads(shelves.body)["queues"]] == ["orders.poison"]
        generations.append(bridge.bridge.client.generation)
        assert generations == [1, 1, 1, 1]
        assert client.generation == 2
    await _without_the_right_to_dead_letters(as_login(broker, "narrow"), route, caplog)


async def _without_the_right_to_dead_letters(login: Any, route: Route, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever looks at them is refused, on a connection of his own; the bridge's lives."""
    made = settings(login, [route], vhost="shop").model_copy(update={"admin": ADMIN})
    async with running(made, "uvicorn") as bridge:
        refused = await bridge.call(f"{LETTERS}?queue=orders.poison", None, method="GET", headers=(BEARER,))
        assert (refused.status, refused.name) == (503, "broker-unavailable")
        assert "orders.poison" in caplog.text
        assert login.passcode not in caplog.text
        assert bridge.bridge.client.generation == 1


async def test_a_missing_right_costs_the_connection_and_the_log_names_it(
    rabbitmq: RabbitMq, queue: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    routes = [
        Route(name="secret", path="/secret", queue=f"secret.{queue('x')}", timeout=20.0),
        Route(name="held", path="/held", queue=queue("held"), timeout=20.0),
    ]
    async with running(settings_for(rabbitmq, routes), "uvicorn") as bridge:
        held = asyncio.create_task(bridge.call("/held"))
        await bridge.held(1)
        assert (await bridge.call("/secret")).name == "broker-lost"
        assert (await held).name == "broker-lost"
        assert "access_refused" in caplog.text
        assert "its last word was: access_refused" in caplog.text
        await until(lambda: bridge.bridge.client.connected)


async def test_a_call_without_a_worker_waits_for_its_deadline(rabbitmq: RabbitMq, queue: Any) -> None:
    route = Route(name="q", path="/q", queue=queue("nobody"), timeout=0.5)
    async with running(settings_for(rabbitmq, [route]), "uvicorn") as bridge:
        assert bridge.bridge.presence[route.queue].listeners == -1  # nobody knows
        got = await bridge.call("/q")
        assert (got.status, got.name) == (504, "deadline")
        # And its message is gone by its own time to live: a worker that comes later never sees it.
        async with working(rabbitmq, echo(route.queue)):
            again = asyncio.create_task(bridge.call("/q", b"again"))
            assert (await again).body == b"again"


async def test_quorum_queues_and_priorities_on_queues_that_others_declare(rabbitmq: RabbitMq, queue: Any) -> None:
    quorum, sorted_, order, go_on = queue("quorum"), queue("sorted"), [], asyncio.Event()
    async with await aio_pika.connect(rabbitmq.amqp_url) as amqp:
        channel = await amqp.channel()
        await channel.declare_queue(quorum, durable=True, arguments={"x-queue-type": "quorum"})
        await channel.declare_queue(sorted_, durable=True, arguments={"x-max-priority": 10})
    worker = echo(quorum)

    @worker.handler(sorted_)
    async def note(text: str) -> None:
        order.append(text)
        await go_on.wait()

    routes = [
        Route(name="quorum", path="/quorum", queue=quorum, timeout=20.0),
        Route(name="sorted", path="/sorted", queue=sorted_, timeout=20.0),
    ]
    async with (
        running(settings(rabbitmq, routes, declare=False), "uvicorn") as bridge,
        working(rabbitmq, worker, declare=False) as client,
    ):
        assert (await bridge.call("/quorum", b"x")).body == b"x"
        calls = [asyncio.create_task(bridge.call("/sorted", b"first"))]
        await until(lambda: order == ["first"])
        for urgency in (7, 1):
            headers = (("priority", f"u={urgency}"),)
            calls.append(asyncio.create_task(bridge.call("/sorted", b"u=%d" % urgency, headers=headers)))
            await bridge.held(len(calls))
        go_on.set()
        await asyncio.gather(*calls)
        assert (order, client.generation, bridge.bridge.client.generation) == (["first", "u=1", "u=7"], 1, 1)


async def test_what_a_drained_slot_leaves_goes_to_another_worker_at_once(rabbitmq: RabbitMq, queue: Any) -> None:
    """RabbitMQ would keep it for as long as the connection lives, which other slots may need for hours."""
    name, stays = queue("drained"), queue("stays")
    async with Client(
        [Server("127.0.0.1", rabbitmq.stomp_port)], Credentials(rabbitmq.login, rabbitmq.passcode)
    ) as leaving:
        await asyncio.wait_for(leaving.wait_connected(), PATIENCE)
        taken: list[Any] = []
        subscription = leaving.subscribe(lambda p: p.consume(name, 2), taken.append)
        leaving.subscribe(lambda p: p.consume(stays), taken.append)
        route = Route(name="q", path="/q", queue=name, timeout=20.0)
        async with running(settings_for(rabbitmq, [route]), "uvicorn") as bridge:
            calls = [asyncio.create_task(bridge.call("/q", b"%d" % number)) for number in range(3)]
            await until(lambda: len(taken) == 2)
            assert leaving.ack(taken[0], 1)  # the third is on its way when the subscription ends
            leaving.unsubscribe(subscription)
            async with working(rabbitmq, echo(name)):
                await until(lambda: sum(call.done() for call in calls) == 2)
            assert leaving.generation == 1
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)


async def test_an_alarm_is_a_broker_that_does_not_confirm(own_broker: Any) -> None:
    broker: RabbitMq = await own_broker(kind="rabbitmq")
    route = Route(name="q", path="/q", queue="alarm", timeout=20.0)
    made = settings_for(broker, [route], publish_timeout=1.0)
    async with running(made, "uvicorn") as bridge, working(broker, echo("alarm")):
        assert (await bridge.call("/q", b"1")).status == 200
        await asyncio.to_thread(broker.control, "set_vm_memory_high_watermark", "0.00001")
        answers = [await bridge.call("/q", b"2") for _ in range(2)]  # it still takes one SEND
        assert answers[-1].name == "broker-unavailable"
        await asyncio.to_thread(broker.control, "set_vm_memory_high_watermark", "0.4")
        await until(lambda: bridge.bridge.client.connected)
        assert (await bridge.call("/q", b"3")).status == 200
