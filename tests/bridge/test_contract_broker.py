"""The broker is not there, goes away, does not answer, refuses: what callers are told, and that the bridge recovers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from activemq.embedded import EmbeddedBroker
from activemq.frames import encode
from activemq.testing import FakeBroker
from bridge.settings import Route
from tests.bridge.callers import until
from tests.bridge.harness import ToldWorker, running, settings_for
from tests.stopping import go_on, hang

pytestmark = pytest.mark.every_broker

ROUTES = [Route(name="echo", path="/echo", queue="echo", timeout=15.0)]


def check(response, name, ran, status=503):
    assert (response.status, response.name, response.problem["ran"]) == (status, name, ran)
    assert (response.get("retry-after") is not None) == (status == 503)
    assert response.problem["correlation_id"] == response.get("correlation-id")


async def served(bridge, worker, body=b"again"):
    calling = asyncio.create_task(bridge.call(body=body))
    message = await worker.request("echo")
    assert message.body == body
    await worker.reply(message, body)
    assert (await calling).body == body


# -- not there


async def test_before_the_first_connection_calls_are_told_to_come_back(implementation):
    broker = FakeBroker()
    await broker.start()
    await broker.stop()  # the port is known now
    async with running(settings_for(broker, ROUTES), implementation, connected=False) as bridge:
        check(await bridge.call(), "broker-unavailable", "no")
        await broker.start()
        async with ToldWorker(broker, "echo") as worker:
            await until(lambda: bridge.bridge.client.connected)
            await served(bridge, worker)
        await bridge.at_rest()
    await broker.stop()


async def test_a_broker_that_refuses_the_login_is_not_there(implementation):
    async with FakeBroker(login="bridge", passcode="right") as broker:
        settings = settings_for(broker, ROUTES)
        async with running(settings, implementation, connected=False) as bridge:
            check(await bridge.call(), "broker-unavailable", "no")
            assert not bridge.bridge.ready


async def test_in_the_moment_of_its_loss_nothing_is_sent_and_nothing_is_a_defect(implementation, monkeypatch):
    """The connection has ended already, and nobody has been told yet."""
    async with FakeBroker() as broker, running(settings_for(broker, ROUTES), implementation) as bridge:
        client, admission = bridge.bridge.client, bridge.bridge.admission
        enter = admission.enter

        def enter_as_it_ends(*arguments):
            client._connection.abort(ConnectionError("cut"))
            assert client.connected
            enter(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(admission, "enter", enter_as_it_ends)
            check(await bridge.call(), "broker-unavailable", "no")
        await bridge.at_rest()


# -- lost


async def test_when_the_connection_dies_every_held_call_is_told_and_the_bridge_recovers(implementation):
    async with (
        FakeBroker() as broker,
        ToldWorker(broker, "echo") as worker,
        running(settings_for(broker, ROUTES), implementation) as bridge,
    ):
        calls = [asyncio.create_task(bridge.call()) for _ in range(50)]
        messages = [await worker.request("echo") for _ in calls]
        await broker.drop_connections()
        for response in await asyncio.gather(*calls):
            check(response, "broker-lost", "maybe", 502)
        await bridge.at_rest()
        await until(lambda: bridge.bridge.client.connected and worker.client.connected)
        # A reply over the new connection to a call of the old one is for nobody.
        late = {"correlation-id": messages[0].get("correlation-id")}
        await worker.send("/temp-queue/elsewhere", late, b"late", text=False)
        await served(bridge, worker)


async def test_a_real_broker_hangs_is_killed_and_comes_back(own_broker, implementation):
    broker: EmbeddedBroker = await own_broker()
    async with (
        running(settings_for(broker, ROUTES, publish_timeout=0.3), implementation) as bridge,
        ToldWorker(broker, "echo") as worker,
    ):
        await hang(broker.pid)
        try:
            check(await bridge.call(body=b"unconfirmed"), "broker-unavailable", "maybe")
        finally:
            go_on(broker.pid)
        assert (await worker.request("echo")).body == b"unconfirmed"

        # A broker that has just started on a busy machine may take longer than that for its first receipts.
        endpoint = bridge.bridge._call
        endpoint.rules = replace(endpoint.rules, publish_timeout=15.0)
        calls = [asyncio.create_task(bridge.call()) for _ in range(20)]
        for _ in calls:
            await worker.request("echo")
        await broker.kill()
        for response in await asyncio.gather(*calls):
            check(response, "broker-lost", "maybe", 502)
        check(await bridge.call(), "broker-unavailable", "no")
        await bridge.at_rest()
        await broker.start()
        await until(lambda: bridge.bridge.client.connected and worker.client.connected)
        await served(bridge, worker)


# -- does not answer


async def test_a_message_that_the_broker_does_not_confirm_may_have_been_sent(implementation):
    async with (
        FakeBroker() as broker,
        ToldWorker(broker, "echo") as worker,
        running(settings_for(broker, ROUTES, publish_timeout=0.5), implementation) as bridge,
    ):
        loop = asyncio.get_running_loop()
        broker.pause()
        started = loop.time()
        response = await bridge.call(body=b"unconfirmed")
        assert loop.time() - started >= 0.3
        check(response, "broker-unavailable", "maybe")
        await bridge.at_rest()
        broker.resume()
        message = await worker.request("echo")  # it had been sent indeed
        assert message.body == b"unconfirmed"
        await worker.reply(message, b"too late")
        await served(bridge, worker)
        assert bridge.bridge.exchange.counts.stray_replies == 1


async def test_once_confirmed_a_call_waits_for_its_reply_longer_than_for_the_receipt(implementation):
    async with (
        FakeBroker() as broker,
        ToldWorker(broker, "echo") as worker,
        running(settings_for(broker, ROUTES, publish_timeout=0.5), implementation) as bridge,
    ):
        calling = asyncio.create_task(bridge.call())
        message = await worker.request("echo")
        now = asyncio.get_running_loop().time
        started = now()
        await until(lambda: now() - started > 0.7)
        assert not calling.done()
        await worker.reply(message, b"slow")
        assert (await calling).body == b"slow"


async def test_a_broker_that_does_not_read_is_not_there_before_memory_is_full(implementation):
    route = Route(name="echo", path="/echo", queue="echo", timeout=15.0, max_body=3 << 20)
    async with (
        FakeBroker() as broker,
        running(settings_for(broker, [route], publish_timeout=10.0), implementation) as bridge,
    ):
        broker.pause()
        connection = bridge.bridge.client._connection
        connection._max_buffered = 1 << 20
        held, refused = [], None
        while refused is None:
            calling = asyncio.create_task(bridge.call(body=b"x" * (1 << 20)))
            number = len(held) + 1
            await until(lambda calling=calling, number=number: calling.done() or len(bridge.bridge.exchange) == number)
            if calling.done():
                refused = await calling
            else:
                held.append(calling)
        check(refused, "broker-unavailable", "no")
        assert len(held) < 40
        for calling in held:
            calling.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        broker.resume()


# -- refuses


async def test_a_message_that_the_broker_refuses_has_not_run(implementation):
    async with (
        FakeBroker() as broker,
        ToldWorker(broker, "echo") as worker,
        running(settings_for(broker, ROUTES), implementation) as bridge,
    ):
        broker.refuse("/queue/echo", "java.lang.SecurityException at org.example.Broker")
        response = await bridge.call()
        check(response, "queue-full", "no")
        assert b"java" not in response.body
        assert b"example" not in response.body
        broker.allow("/queue/echo")
        await served(bridge, worker)


# -- strange frames


async def test_replies_with_undefined_escapes_cost_at_most_their_own_call(implementation):
    async with (
        FakeBroker() as broker,
        ToldWorker(broker, "echo") as worker,
        running(settings_for(broker, ROUTES), implementation) as bridge,
    ):
        calling = asyncio.create_task(bridge.call(body=b"1"))
        other = asyncio.create_task(bridge.call(body=b"2"))
        messages = {message.body: message for message in [await worker.request("echo"), await worker.request("echo")]}
        (connection,) = {
            frame.connection
            for frame in broker.received
            if frame.headers.get("type") == "echo" and frame.command == "SEND"
        }
        (subscription,) = {
            frame.headers["id"]
            for frame in broker.received
            if frame.connection == connection and frame.headers.get("destination") == "/temp-queue/replies"
        }
        message = f"MESSAGE\nsubscription:{subscription}\nmessage-id:1\ndestination:/temp-queue/replies\n"
        await broker.inject(f"{message}correlation-id:\\q\n\nx\0".encode(), connection)
        await until(lambda: bridge.bridge.exchange.counts.stray_replies == 1)
        correlation_id = messages[b"1"].get("correlation-id")
        await broker.inject(f"{message}correlation-id:{correlation_id}\nhttp_status:\\q\n\nx\0".encode(), connection)
        check(await calling, "bad-reply", "yes", 502)
        await worker.reply(messages[b"2"], b"unharmed")
        assert (await other).body == b"unharmed"


# -- what a caller may not say to a broker

FORBIDDEN = [
    "reply-to", "receipt", "destination", "correlation-id", "expires", "persistent", "priority", "type", "transaction",
    "selector", "transformation", "amq-msg-type", "JMSXGroupID", "JMSReplyTo", "JMSXDeliveryCount", "timestamp",
    "AMQ_SCHEDULED_DELAY", "AMQ_SCHEDULED_CRON", "_AMQ_DUPL_ID", "activemq.prefetchSize", "message-id", "ack",
    "http_status", "http_header_accept_language", "http-header-x", "attempt", "deadline_ms", "caller", "reply_kinds",
]  # fmt: skip


async def test_a_callers_headers_reach_the_broker_under_no_name(implementation):
    async with (
        FakeBroker() as broker,
        ToldWorker(broker, "echo") as worker,
        running(settings_for(broker, ROUTES), implementation) as bridge,
    ):
        for name in FORBIDDEN:
            # One with an underscore is no header at all (tests/bridge/hardening).
            headers = () if "_" in name else ((name, "MARK"), (f"X-{name}", "MARK"))
            calling = asyncio.create_task(bridge.call(f"/echo?{name}=MARK", b"MARK", headers=headers))
            await worker.reply(await worker.request("echo"))
            assert (await calling).status == 200
        sent = [frame for frame in broker.received if frame.headers.get("type") == "echo"]
        assert len(sent) == len(FORBIDDEN)
        for frame in sent:
            marked = {key for key, value in frame.headers.items() if "MARK" in value}
            assert marked == {"http_target"}


async def test_a_callers_body_cannot_begin_another_frame(implementation):
    async with (
        FakeBroker() as broker,
        ToldWorker(broker, "echo") as worker,
        running(settings_for(broker, ROUTES), implementation) as bridge,
    ):
        body = b"x\0\n" + encode("SEND", [("destination", "/queue/other")], b"smuggled")
        calling = asyncio.create_task(bridge.call(body=body, headers=(("Content-Type", "text/plain"),)))
        message = await worker.request("echo")
        assert message.body == body
        assert [frame.body for frame in broker.received if "reply-to" in frame.headers] == [body]
        assert not broker.messages("other")
        await worker.reply(message)
        assert (await calling).status == 200


# -- whose time


@pytest.mark.parametrize("offset", [-3_600.0, 3_600.0])
async def test_deadlines_are_in_the_brokers_time(offset):
    async with (
        FakeBroker(clock_offset=offset) as broker,
        ToldWorker(broker, "echo") as worker,
        running(settings_for(broker, ROUTES), "uvicorn") as bridge,
    ):
        before = (time.time() + offset + 15) * 1_000
        calling = asyncio.create_task(bridge.call())
        message = await worker.request("echo")
        after = (time.time() + offset + 15) * 1_000
        slack = bridge.bridge.client.clock.error_ms + 2
        assert before - slack <= int(message.get("expires")) <= after + slack
        assert message.get("deadline_ms") == message.get("expires")
        await worker.reply(message)
        assert (await calling).status == 200
