"""The examples, each started as its first lines say, on a real ActiveMQ.

Queues in examples have plain names; nothing else of the session uses these.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.consumers.harness import PATIENCE, Requester, new_client

EXAMPLES = Path(__file__).parents[2] / "examples"


@asynccontextmanager
async def process(*arguments: object, broker=None, says: str):
    """Start a Python program in the folder of the examples; its line that ``says`` so, and a clean end."""
    environ = dict(os.environ)
    if broker is not None:
        environ |= {"MQBRIDGE_BROKER__LOGIN": broker.login, "MQBRIDGE_BROKER__PASSCODE": broker.passcode}
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        *map(str, arguments),
        cwd=EXAMPLES,
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = ""
    try:
        async with asyncio.timeout(PATIENCE):
            while says not in output:
                line = await running.stdout.readline()
                assert line, f"ended without {says!r}:\n{output}"
                output += line.decode()
        yield output
        running.terminate()
        async with asyncio.timeout(PATIENCE):
            rest, _ = await running.communicate()
        assert "Traceback" not in rest.decode()
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


def mqbridge(*arguments: object, broker):
    return process("-m", "mqbridge", *arguments, "--broker", broker.stomp_url, broker=broker, says="worker ready")


async def test_hello_worker(broker, requester):
    async with mqbridge("work", "hello_worker:worker", "--concurrency", "2", broker=broker):
        hello = await requester.call("hello", "Ada")
        reverse = await requester.call("reverse", b"\x00\x01\xff")
        order = await requester.call("orders", '{"item": "tea", "count": 2}')
        wrong = await requester.call("orders", '{"count": "many"}')
        about = await requester.call("about", "", http_method="GET", http_target="/about?x=1", **requester.in_time())
    assert json.loads(hello.body) == {"hello": "Ada"}
    assert reverse.body == b"\xff\x01\x00"
    assert (order.get("http_status"), json.loads(order.body)) == ("201", {"ordered": 2, "item": "tea"})
    assert order.get("http_header_location") == "/orders/tea"
    assert wrong.get("http_status") == "422"
    told = json.loads(about.body)
    assert 20 < told.pop("seconds_left") < 31
    assert told == {"method": "GET", "target": "/about?x=1", "headers": {}, "attempt": 1}


async def test_asgi_worker(broker, requester):
    async with mqbridge("work", "--asgi", "asgi_worker:app", "--queue", "greetings", broker=broker):
        reply = await requester.call("greetings", "good morning", http_target="/greetings/Ada")
    assert json.loads(reply.body) == {"good morning": "Ada"}
    assert reply.get("http_header_cache_control") == "no-store"


async def test_stomppy_worker(broker, requester, tmp_path):
    passcode = tmp_path / "passcode"
    passcode.write_text(broker.passcode + "\n")
    async with process("stomppy_worker.py", "127.0.0.1", broker.stomp_port, broker.login, passcode, says="ready"):
        reply = await requester.call("hello", "Ada")
    assert json.loads(reply.body) == {"hello": "Ada"}


async def test_amqp_worker(rabbitmq, tmp_path):
    passcode = tmp_path / "passcode"
    passcode.write_text(rabbitmq.passcode + "\n")
    arguments = "amqp_worker.py", "127.0.0.1", rabbitmq.amqp_port, rabbitmq.login, passcode
    async with Requester(new_client(rabbitmq)) as requester, process(*arguments, says="ready"):
        reply = await requester.call("hello", "Ada")
        wrong = await requester.call("hello", b"\xff")
    assert (reply.get("http_status"), reply.get("content-type")) == ("200", "application/json")
    assert json.loads(reply.body) == {"hello": "Ada"}
    assert wrong.get("http_status") == "422"


async def test_http_service_behind_the_sidecar(broker, requester):
    async with process("http_service.py", 0, says="listening on") as output:
        url = re.search(r"http://\S+", output)[0]
        async with mqbridge("forward", "--queue", "orders", url, broker=broker):
            reply = await requester.call("orders", "two teas", http_target="/orders?fast")
    assert (reply.get("http_status"), reply.get("content_type")) == ("201", "application/json")
    assert json.loads(reply.body) == {
        "path": "/orders?fast",
        "received": "two teas",
        "call": reply.get("correlation-id"),
    }


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_each_example_says_how_to_start_it_and_is_tested_here(example):
    text = example.read_text()
    assert re.search(rf"^(mqbridge|python) .*{example.stem}", text.split('"""')[1], re.MULTILINE)
    assert f"def test_{example.stem}" in Path(__file__).read_text()
