"""What a message of somebody else may hold, as Classic hands it on: none of it costs the shared connection.

The JMS sender is the producer of ActiveMQ's own console, out of the jars that the embedded broker runs on.
"""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from activemq.embedded import EmbeddedBroker, default_cache_dir
from activemq.embedded.artifacts import distribution, load_lock
from activemq.embedded.fetch import ensure_jars
from activemq.embedded.java import find_java

JmsSend = Callable[..., Awaitable[None]]


@pytest.fixture(scope="module")
def java_and_jars(broker: EmbeddedBroker) -> tuple[str, str]:
    """What the broker runs on, so it is there."""
    java = find_java(os.environ.get("JAVA_HOME"), os.environ.get("PATH"))
    classic = distribution("classic")
    jars = ensure_jars(classic, load_lock(classic), default_cache_dir(), print, threading.Event())
    return str(java.executable), os.pathsep.join(map(str, jars))


@pytest.fixture
def jms_send(tmp_path: Path, java_and_jars: tuple[str, str]) -> JmsSend:
    """``await jms_send(broker, queue, text)`` sends a persistent JMS TextMessage over OpenWire."""
    java, jars = java_and_jars

    async def jms_send(broker: EmbeddedBroker, queue: str, text: str) -> None:
        payload = tmp_path / "payload.txt"
        payload.write_text(text, encoding="utf-8", newline="")
        options = tmp_path / "options"  # a file, since all may read a command line
        options.touch(mode=0o600)
        words = [
            *("-cp", jars, "org.apache.activemq.console.command.ShellCommand", "producer"),
            *("--brokerUrl", broker.openwire_url, "--user", broker.login, "--password", broker.passcode),
            *("--destination", f"queue://{queue}", "--messageCount", "1", "--payloadUrl", payload.as_uri()),
        ]
        options.write_text("\n".join(words), encoding="utf-8")
        run = await asyncio.create_subprocess_exec(
            *(java, f"@{options}"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await run.communicate()
        assert b"Produced: 1 messages" in output, output.decode()

    return jms_send


@pytest.mark.parametrize(
    "text",
    ["a\0b", "\0", "\0\0\0end\0", "one\0\ntwo\0\r\nthree\0", "\U0001f600 é\0\U0001f600", "a\0Most\0E\0R"],
    ids=ascii,
)
async def test_a_jms_text_with_nuls_arrives_whole(
    broker, real, join, inbox, send, jms_send: JmsSend, queue: str, text: str
) -> None:
    client = await join(real)
    work = inbox(client, lambda p: p.consume(queue))
    await jms_send(broker, queue, text)
    await send(client, f"/queue/{queue}", b"next", priority=0)
    frame = await work.next()
    assert frame.body.decode() == text
    assert frame.get("content-length") is None
    client.ack(frame, client.generation)
    frame = await work.next()
    assert frame.body == b"next"
    client.ack(frame, client.generation)
    assert client.generation == 1


async def test_nuls_among_many_messages_are_told_apart(
    broker, real, join, inbox, send, jms_send: JmsSend, queue: str
) -> None:
    client = await join(real)
    await send(client, f"/queue/{queue}", b"before", priority=9, persistent="true")
    await jms_send(broker, queue, "a\0b")
    for number in range(20):
        await send(client, f"/queue/{queue}", b"after %d" % number, priority=1, persistent="true")
    work = inbox(client, lambda p: {**p.consume(queue), "ack": "auto", "activemq.prefetchSize": "100"})
    bodies = [(await work.next()).body for _ in range(22)]
    assert bodies == [b"before", b"a\0b", *(b"after %d" % number for number in range(20))]
    assert client.generation == 1


@pytest.mark.parametrize("body", ["héllo".encode("latin-1"), b"\xff\xfe", b"caf\xe9", b"\xed\xa0\xbd\xed\xb8\x80"])
async def test_a_text_that_was_not_utf_8_arrives_replaced_though_its_length_is_a_lie(
    real, join, inbox, send, queue: str, body: bytes
) -> None:
    client = await join(real)
    work = inbox(client, lambda p: p.consume(queue))
    await send(client, f"/queue/{queue}", body, amq_msg_type="text", content_length=len(body))
    frame = await work.next()
    assert frame.get("content-length") == str(len(body))
    assert frame.body.decode().replace("\ufffd", "") == body.decode(errors="ignore")
    assert "\ufffd" in frame.body.decode()
    client.ack(frame, client.generation)
    await send(client, f"/queue/{queue}", b"next")
    assert (await work.next()).body == b"next"
    assert client.generation == 1


@pytest.mark.parametrize("persistent", ["false", "true"])
@pytest.mark.parametrize("body", [b"a\0b", b"a\0\nMESSAGE\nsubscription:s1\n\nx", "\U0001f600".encode()])
async def test_a_stomp_text_with_its_length_arrives_byte_for_byte(
    real, join, inbox, send, queue: str, body: bytes, persistent: str
) -> None:
    client = await join(real)
    headers = {"amq_msg_type": "text", "content_length": len(body), "persistent": persistent}
    await send(client, f"/queue/{queue}", body, **headers)
    frame = await inbox(client, lambda p: p.consume(queue)).next()
    assert (frame.body, frame.get("content-length")) == (body, str(len(body)))
    client.ack(frame, client.generation)


async def test_headers_with_odd_names_are_read(real, join, inbox, queue: str) -> None:
    client = await join(real)
    work = inbox(client, lambda p: p.consume(queue))
    head = f"SEND\ndestination:/queue/{queue}\nodd\\qname:1\nodd\\cname:2\nno colon\nodd:\\q\ngood:3\n\n\0"
    client.send(head.encode())
    frame = await work.next()
    found = frame.headers
    assert (found["odd\\qname"], found["odd:name"], found["odd"], found["good"]) == ("1", "2", "\\q", "3")
    client.ack(frame, client.generation)


async def test_a_restart_of_the_broker_changes_none_of_it(
    own_broker, join, inbox, send, jms_send: JmsSend, queue: str, target_of
) -> None:
    broker = await own_broker()
    client = await join(target_of(broker))
    await jms_send(broker, queue, "a\0\U0001f600")
    await send(client, f"/queue/{queue}", "\U0001f600".encode(), persistent="true", priority=3)
    lie = {"amq_msg_type": "text", "content_length": 2, "persistent": "true", "priority": 2}
    await send(client, f"/queue/{queue}", b"\xff\xfe", **lie)
    await broker.stop()
    await broker.start()
    work = inbox(client, lambda p: {**p.consume(queue), "ack": "auto", "activemq.prefetchSize": "100"})
    bodies = [(await work.next()).body.decode() for _ in range(3)]
    assert bodies == ["a\0\U0001f600", "\U0001f600", "\ufffd\ufffd"]
    assert client.generation == 2
