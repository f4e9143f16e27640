"""docs/workers.md: each block of it runs."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from activemq.testing import FakeBroker
from tests.consumers.harness import PATIENCE, Requester, new_client, running, until

TEXT = (Path(__file__).parents[2] / "docs" / "workers.md").read_text()
BLOCKS = {
    re.match(r"# (\w+)\.py\n", block)[1]: block
    for block in re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
}
COMMANDS = re.findall(r"^\$ mqbridge (.*)$", TEXT, re.MULTILINE)


@pytest.fixture
def block(tmp_path, monkeypatch):
    """Import a block by its name, with the others beside it."""
    for name, text in BLOCKS.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module
    for name in BLOCKS:
        sys.modules.pop(name, None)


@pytest.fixture
async def fake():
    async with FakeBroker() as broker:
        yield broker


@pytest.fixture
async def requester(fake):
    async with Requester(new_client(fake)) as requester:
        yield requester


def test_each_block_is_tried_here():
    mine = Path(__file__).read_text()
    assert len(BLOCKS) == TEXT.count("```python")
    assert [name for name in BLOCKS if f'block("{name}")' not in mine] == []


async def test_hello(block, fake, requester):
    async with running(block("hello").worker, fake):
        assert json.loads((await requester.call("hello", "Ada")).body) == {"hello": "Ada"}


async def test_orders(block, fake, requester):
    async with running(block("orders").worker, fake):
        reply = await requester.call("orders", '{"item": "tea", "count": 2}')
        wrong = await requester.call("orders", "{}")
        image = await requester.call("orders.images", b"x" * 200)
    assert (reply.get("http_status"), reply.get("http_header_location")) == ("201", "/orders/tea")
    assert json.loads(wrong.body)["errors"][0]["pointer"] == "/item"
    assert (image.get("content_type"), len(image.body)) == ("image/png", 100)


async def test_search(block, fake, requester):
    async with running(block("search").worker, fake):
        assert json.loads((await requester.call("search", "42")).body) == [2, 4, 42]


async def told_by(requester, queue, **headers):
    """All that is said to a request, to the final reply."""
    call = await requester.send(queue, "", **headers)
    await until(lambda: [f for f in requester.replies.get(call, []) if f.get("reply_kind") is None])
    return [(frame.get("reply_kind") or "final", frame.body.decode()) for frame in requester.replies[call]]


@pytest.mark.parametrize(
    ("queue", "told"),
    [
        (
            "reports",
            [
                ("chunk", "line 1\n"),
                ("progress", '{"done":1,"of":2}'),
                ("chunk", "line 2\n"),
                ("progress", '{"done":2,"of":2}'),
                ("final", ""),
            ],
        ),
        ("reports.thread", [("chunk", "line 1\n"), ("progress", "0.5"), ("final", "line 2\n")]),
    ],
)
async def test_report(block, fake, requester, queue, told):
    async with running(block("report").worker, fake):
        assert await told_by(requester, queue, reply_kinds="progress chunk") == told
        assert await told_by(requester, queue) == told[-1:]


async def test_careful(block, fake, requester):
    async with running(block("careful").worker, fake):
        first = await requester.call("payments")
        second = await requester.call("payments", attempt="2")
    assert (first.get("http_status"), second.get("http_status")) == ("200", "409")


async def test_lanes(block, fake, requester):
    worker = block("lanes").worker
    assert worker.slots(8) == {"reports": 3, "mails": 3, "urgent": 2}
    async with running(worker, fake, 8):
        assert (await requester.call("urgent", "now")).body == b"NOW"


async def test_shared(block, fake, requester, unused_tcp_port):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", unused_tcp_port)
    module = block("shared")
    async with server, running(module.worker, fake):
        assert (await requester.call("status", f"http://127.0.0.1:{unused_tcp_port}/")).body == b"204"
    assert module.clients == []


async def test_own_program(block, fake, requester, capsys):
    module = block("own_program")
    task = asyncio.create_task(module.main(fake.url, "me", "pass"))
    assert json.loads((await requester.call("hello", "Ada")).body) == {"hello": "Ada"}
    assert capsys.readouterr().out == "ready\n"
    signal = module.signal
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(task, PATIENCE)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().remove_signal_handler(number)


async def test_the_tests(block):
    module = block("test_hello")
    await module.test_the_function()
    async with asyncio.timeout(PATIENCE):
        await module.test_the_way_of_a_message()


async def test_asgi(block, fake, requester):
    async with running(block("asgi").worker, fake):
        reply = await requester.call("orders", http_method="GET", http_target="/hello")
    assert reply.body == b"hello"


async def test_sidecar(block, fake, requester):
    async with running(block("sidecar").worker, fake):
        reply = await requester.call("orders", http_target="/../x")
    assert reply.get("http_status") == "400"


async def test_old_program(block, fake, requester):
    connection = await asyncio.to_thread(block("old_program").connect, fake.host, fake.port, "me", "pass")
    try:
        assert json.loads((await requester.call("hello", "Ada")).body) == {"hello": "Ada"}
    finally:
        connection.get_listener("worker").close()
        await asyncio.to_thread(connection.disconnect, "bye")
    await until(lambda: not connection.is_connected())


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_have_the_options_that_are_shown(command):
    name, *arguments = command.split()
    told = subprocess.run(
        [sys.executable, "-m", "mqbridge", name, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "200", "TERM": "dumb"},
    ).stdout
    for argument in arguments:
        assert not argument.startswith("--") or argument in told
