"""SIGTERM: what is held finishes, nothing new is taken, and the process ends well."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager

import pytest

from activemq.testing import FakeBroker
from bridge.settings import Route
from tests.bridge.callers import PATIENCE, Caller, call, request, until
from tests.bridge.harness import ToldWorker, running, settings_for

pytestmark = pytest.mark.every_broker

ROUTES = [Route(name="echo", path="/echo", queue="echo", timeout=15.0)]


def check_refused(response):
    assert (response.status, response.name, response.problem["ran"]) == (503, "draining", "no")
    assert response.get("connection") == "close"
    assert response.get("retry-after") is not None


async def test_held_calls_finish_and_new_ones_are_refused(implementation):
    async with (
        FakeBroker() as broker,
        ToldWorker(broker, "echo") as worker,
        running(settings_for(broker, ROUTES), implementation) as bridge,
    ):
        held = [asyncio.create_task(bridge.call(body=b"%d" % number)) for number in range(10)]
        messages = [await worker.request("echo") for _ in held]
        idle = await Caller.connect(bridge.port)
        bridge.stopping.set()
        await until(lambda: bridge.bridge.admission.draining)
        check_refused(await bridge.call(body=b"new"))
        await idle.send(request("/echo", b"on a connection that was there"))
        check_refused(await idle.response())
        assert await idle.ended() == b""
        assert (await bridge.call("/-/ready", None, method="GET")).status == 503
        assert (await bridge.call("/-/live", None, method="GET")).status == 200
        assert not bridge.served.done()
        for message in messages:
            await worker.reply(message, message.body)
        assert [(await one).body for one in held] == [b"%d" % number for number in range(10)]
        assert await bridge.served == 0
        with pytest.raises(ConnectionRefusedError):
            await bridge.call()
        assert worker.waiting("echo") == 0
        await idle.close()


async def test_a_body_that_is_on_its_way_is_still_read(implementation):
    async with (
        FakeBroker() as broker,
        ToldWorker(broker, "echo") as worker,
        running(settings_for(broker, ROUTES), implementation) as bridge,
        await Caller.connect(bridge.port) as caller,
    ):
        await caller.send(request("/echo", body=None, headers=(("Content-Length", "5"),)) + b"he")
        await until(lambda: bridge.bridge.admission.held == 1)
        bridge.stopping.set()
        await until(lambda: bridge.bridge.admission.draining)
        await caller.send(b"llo")
        message = await worker.request("echo")
        await worker.reply(message, message.body * 2)
        assert (await caller.response()).body == b"hellohello"
        assert await bridge.served == 0


async def test_with_nothing_held_it_ends_at_once_and_closes_idle_connections(implementation):
    async with FakeBroker() as broker, running(settings_for(broker, ROUTES), implementation) as bridge:
        async with await Caller.connect(bridge.port) as idle:
            bridge.stopping.set()
            assert await asyncio.wait_for(bridge.served, PATIENCE) == 0
            assert await idle.ended() == b""
        await until(lambda: broker.connections == 0)


async def test_a_call_that_gets_no_reply_has_its_504_before_the_end(implementation):
    routes = [Route(name="echo", path="/echo", queue="echo", timeout=0.5)]
    async with (
        FakeBroker() as broker,
        ToldWorker(broker, "echo"),
        running(settings_for(broker, routes, drain=5.0), implementation) as bridge,
    ):
        held = asyncio.create_task(bridge.call())
        await bridge.held(1)
        bridge.stopping.set()
        assert (await held).name == "deadline"
        assert await bridge.served == 0


async def test_when_the_time_to_drain_is_over_the_rest_is_told_and_counted(implementation):
    async with (
        FakeBroker() as broker,
        ToldWorker(broker, "echo") as worker,
        running(settings_for(broker, ROUTES, drain=0.2), implementation) as bridge,
    ):
        held = [asyncio.create_task(bridge.call()) for _ in range(3)]
        for _ in held:
            await worker.request("echo")
        bridge.stopping.set()
        for response in await asyncio.gather(*held):
            assert (response.status, response.name, response.problem["ran"]) == (502, "broker-lost", "maybe")
        assert await bridge.served == 3


# -- as a process

TOML = """
[server]
bind = ["127.0.0.1:0"]
implementation = "{implementation}"
drain = "20s"
[broker]
urls = ["{url}"]
[[route]]
name = "echo"
path = "/echo"
queue = "echo"
timeout = "20s"
"""


class Process:
    """`mqbridge serve` in a process of its own."""

    def __init__(self, process, port, lines):
        self.process = process
        self.port = port
        self.lines = lines

    @classmethod
    async def start(cls, broker, implementation, folder):
        config = folder / "bridge.toml"
        config.write_text(TOML.format(implementation=implementation, url=broker.url))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mqbridge", "serve", "--config", str(config),
            stderr=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        lines = []
        async with asyncio.timeout(PATIENCE):
            while not lines or b"ready on http://" not in lines[-1]:
                line = await process.stderr.readline()
                assert line, b"".join(lines).decode()
                lines.append(line)
        return cls(process, int(lines[-1].rpartition(b":")[2]), lines)

    async def ended(self):
        """Wait for its end; return the exit code and what it said."""
        async with asyncio.timeout(PATIENCE):
            said = b"".join([*self.lines, await self.process.stderr.read()]).decode()
            return await self.process.wait(), said

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()


@asynccontextmanager
async def started(implementation, folder):
    async with (
        FakeBroker() as broker,
        ToldWorker(broker, "echo") as worker,
        await Process.start(broker, implementation, folder) as bridge,
    ):
        yield worker, bridge


async def drained_by(bridge, number):
    """Send a signal and return once the bridge says that it drains."""
    os.kill(bridge.process.pid, number)
    async with asyncio.timeout(PATIENCE):
        while (await call(bridge.port, "/-/ready", None, method="GET")).status != 503:  # noqa: ASYNC110 - a process
            await asyncio.sleep(0.01)  # the signal is on its way


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_the_process_and_its_exit_code_is_0(implementation, tmp_path, number):
    async with started(implementation, tmp_path) as (worker, bridge):
        held = [asyncio.create_task(call(bridge.port, body=b"%d" % one)) for one in range(5)]
        messages = [await worker.request("echo") for _ in held]
        await drained_by(bridge, number)
        check_refused(await call(bridge.port, body=b"new"))
        for message in messages:
            await worker.reply(message, message.body)
        assert sorted([(await one).body for one in held]) == [b"%d" % one for one in range(5)]
        code, said = await bridge.ended()
        assert (code, "Traceback" in said) == (0, False), said
        assert "calls held: 5" in said


async def test_a_second_signal_does_not_wait_and_the_exit_code_says_so(implementation, tmp_path):
    async with started(implementation, tmp_path) as (worker, bridge):
        held = asyncio.create_task(call(bridge.port))
        await worker.request("echo")
        await drained_by(bridge, signal.SIGTERM)
        os.kill(bridge.process.pid, signal.SIGTERM)
        assert (await held).name == "broker-lost"
        code, said = await bridge.ended()
        assert (code, "Traceback" in said) == (1, False), said
        assert "calls still held: 1" in said
