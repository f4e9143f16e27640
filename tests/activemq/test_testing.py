"""FakeBroker: who may connect, what a test may see of it and do to it, and transactions."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from activemq.testing import FakeBroker

QUEUE = "/queue/orders"
SLOT = {"ack": "client-individual", "activemq.prefetchSize": "1"}


# -- connecting


async def test_it_answers_connect_as_classic_does(fake: FakeBroker, connect) -> None:
    reader, writer = await asyncio.open_connection(fake.host, fake.port)
    writer.write(b"CONNECT\naccept-version:1.2,1.1\nhost:/\n\n\0")
    answer = await reader.readuntil(b"\0\n")
    assert answer.startswith(b"CONNECTED\nserver:ActiveMQ/6.3.1\nheart-beat:0,0\nsession:ID:")
    assert answer.endswith(b"\nversion:1.2\n\n\0\n")
    assert fake.connections == 1
    writer.close()
    await writer.wait_closed()


async def test_stomp_is_another_word_for_connect(fake: FakeBroker) -> None:
    reader, writer = await asyncio.open_connection(fake.host, fake.port)
    writer.write(b"STOMP\naccept-version:1.1\nhost:/\n\n\0")
    assert b"\nversion:1.1\n" in await reader.readuntil(b"\0")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"CONNECT\naccept-version:1.3\n\n\0", b"Invalid Protocol version"),
        (b"CONNECT\n\n\0", b"Invalid Protocol version"),
        (b"SEND\ndestination:a\n\n\0", b"unexpected SEND"),
        (b"HELLO\n\n\0", b"unknown command"),
        (b"CONNECT\naccept-version:1.2\n\n\0CONNECT\naccept-version:1.2\n\n\0", b"unexpected CONNECT"),
    ],
)
async def test_who_does_not_speak_stomp_gets_an_error_and_is_left(fake: FakeBroker, data: bytes, reason: bytes) -> None:
    reader, writer = await asyncio.open_connection(fake.host, fake.port)
    writer.write(data)
    answer = await reader.read()
    assert b"ERROR\n" in answer
    assert reason in answer
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("headers", [{}, {"login": "us", "passcode": "wrong"}, {"login": "them", "passcode": "pass"}])
async def test_a_wrong_login_is_refused(connect, headers: dict[str, str]) -> None:
    async with FakeBroker("us", "pass") as broker:
        reader, writer = await asyncio.open_connection(broker.host, broker.port)
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        writer.write(f"CONNECT\naccept-version:1.2\n{lines}\n\0".encode())
        assert b"or password is invalid" in await reader.read()
        assert broker.connections == 0
        writer.close()
        await writer.wait_closed()


async def test_the_right_login_is_taken(connect) -> None:
    async with FakeBroker("us", "pass") as broker:
        await connect(broker.port, login="us", passcode="pass")
        assert broker.connections == 1


# -- what a test may do to it


async def test_received_tells_what_went_over_the_wire_and_shows_no_credentials(fake: FakeBroker, connect) -> None:
    wire = await connect(login="us", passcode="secret")
    await wire.done("SEND", b"x", destination=QUEUE)
    connected, sent = fake.received
    assert (connected.command, connected.headers["passcode"]) == ("CONNECT", "secret")
    assert "secret" not in repr(fake.received)
    assert "secret" not in repr(fake)
    assert (sent.command, sent.headers["destination"], sent.body, sent.connection) == ("SEND", QUEUE, b"x", 1)


@pytest.mark.parametrize("destination", [QUEUE, "/temp-queue/r", "/topic/t", "bare"])
async def test_refuse_answers_with_an_error_until_allowed(fake: FakeBroker, connect, destination: str) -> None:
    wire = await connect()
    fake.refuse(destination, "not for you: go")
    for command, headers in (("SEND", {}), ("SUBSCRIBE", {"id_": "1"})):
        error = await wire.done(command, destination=destination, **headers)
        assert (error.command, error.get("message"), error.body) == ("ERROR", "not for you: go", b"not for you: go")
    fake.allow(destination)
    assert (await wire.done("SEND", destination=destination)).command == "RECEIPT"


async def test_drop_connections_resets_them_all(fake: FakeBroker, connect) -> None:
    wires = [await connect(), await connect()]
    await fake.drop_connections()
    assert fake.connections == 0
    for wire in wires:
        with pytest.raises((ConnectionError, EOFError)):
            await wire.frame()
    await connect()


async def test_a_paused_broker_accepts_and_answers_nothing_until_it_goes_on(fake: FakeBroker, connect) -> None:
    wire = await connect()
    fake.pause()
    wire.send("SEND", destination=QUEUE, receipt="r")
    new = asyncio.create_task(connect())
    for _ in range(20):
        await asyncio.sleep(0)
    assert fake.messages("orders") == []
    assert (fake.connections, new.done()) == (1, False)
    fake.resume()
    assert (await wire.frame()).get("receipt-id") == "r"
    await new
    assert fake.connections == 2


async def test_after_a_stop_it_comes_back_on_its_port_with_what_was_persistent(fake: FakeBroker, connect) -> None:
    wire = await connect()
    await wire.done("SEND", b"lost", destination=QUEUE)
    await wire.done("SEND", b"kept", destination=QUEUE, persistent="true")
    port, url = fake.port, fake.url
    await fake.stop()
    await wire.eof()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(fake.host, port)
    await fake.start()
    assert (fake.port, fake.url) == (port, url)
    wire = await connect()
    await wire.done("SUBSCRIBE", id_="1", destination=QUEUE)
    assert (await wire.frame()).body == b"kept"
    assert await wire.quiet()


async def test_stop_while_a_connection_is_being_accepted_leaves_none(fake: FakeBroker) -> None:
    reader, writer = await asyncio.open_connection(fake.host, fake.port)
    await fake.stop()
    assert fake.connections == 0
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(reader.readexactly(1), 10)
    writer.close()


async def test_inject_sends_any_bytes(fake: FakeBroker, connect) -> None:
    first, second = await connect(), await connect()
    await fake.inject(b"ERROR\nmessage:newest\n\n\0")
    await fake.inject(b"ERROR\nmessage:first\n\n\0", connection=1)
    assert (await first.frame()).get("message") == "first"
    assert (await second.frame()).get("message") == "newest"


async def test_inject_needs_a_connection(fake: FakeBroker) -> None:
    with pytest.raises(LookupError):
        await fake.inject(b"x")


async def test_heart_beats_come_if_both_want_them(connect) -> None:
    async with FakeBroker(heartbeat=0.05) as broker:
        reader, writer = await asyncio.open_connection(broker.host, broker.port)
        writer.write(b"CONNECT\naccept-version:1.2\nhost:/\nheart-beat:0,50\n\n\0")
        assert b"heart-beat:50,50\n" in await reader.readuntil(b"\0\n")
        assert await asyncio.wait_for(reader.readexactly(3), 10) == b"\n\n\n"
        writer.close()
        await writer.wait_closed()


async def test_a_client_that_is_silent_for_too_long_is_dropped() -> None:
    async with FakeBroker(heartbeat=0.02) as broker:
        reader, writer = await asyncio.open_connection(broker.host, broker.port)
        writer.write(b"CONNECT\naccept-version:1.2\nhost:/\nheart-beat:20,0\n\n\0")
        await reader.readuntil(b"\0\n")
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(reader.readexactly(1), 10)
        writer.close()


async def test_a_clients_tls_is_taken(connect, tls_contexts) -> None:
    server_side, client_side = tls_contexts
    async with FakeBroker(tls=server_side) as broker:
        assert broker.url.startswith("stomp+ssl://")
        reader, writer = await asyncio.open_connection(broker.host, broker.port, ssl=client_side)
        writer.write(b"CONNECT\naccept-version:1.2\nhost:/\n\n\0")
        assert (await reader.readuntil(b"\0")).startswith(b"CONNECTED")
        writer.close()
        await writer.wait_closed()


async def test_the_example_of_its_page_runs(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "testing-with-fakebroker.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    script = tmp_path / "test_example.py"
    script.write_text(example, encoding="utf-8")
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "--rootdir", tmp_path, script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await run.communicate()
    assert run.returncode == 0, output.decode()
    assert b"2 passed" in output


# -- transactions


async def test_a_commit_does_all_at_once(fake: FakeBroker, connect) -> None:
    wire = await connect()
    await wire.done("SEND", b"in", destination=QUEUE)
    await wire.done("SUBSCRIBE", id_="1", destination=QUEUE, **SLOT)
    ack = (await wire.frame()).get("ack")
    await wire.done("BEGIN", transaction="t")
    await wire.done("SEND", b"out", destination="answers", transaction="t")
    await wire.done("ACK", id_=ack, transaction="t")
    assert (len(fake.messages("answers")), len(fake.unacknowledged("orders"))) == (0, 1)
    await wire.done("COMMIT", transaction="t")
    assert (len(fake.messages("answers")), len(fake.unacknowledged("orders"))) == (1, 0)


@pytest.mark.parametrize("end", ["ABORT", "a dead connection"])
async def test_without_a_commit_nothing_has_happened(fake: FakeBroker, connect, eventually, end: str) -> None:
    wire = await connect()
    await wire.done("SEND", b"in", destination=QUEUE)
    await wire.done("SUBSCRIBE", id_="1", destination=QUEUE, **SLOT)
    ack = (await wire.frame()).get("ack")
    await wire.done("BEGIN", transaction="t")
    await wire.done("SEND", b"out", destination="answers", transaction="t")
    await wire.done("ACK", id_=ack, transaction="t")
    if end == "ABORT":
        await wire.done("ABORT", transaction="t")
        assert (await wire.done("ACK", id_=ack)).command == "RECEIPT"
    else:
        await wire.close()
        await eventually(lambda: fake.messages("orders"))
    assert fake.messages("answers") == []


@pytest.mark.parametrize(
    ("command", "headers"),
    [
        ("COMMIT", {"transaction": "no"}),
        ("ABORT", {"transaction": "no"}),
        ("SEND", {"transaction": "no", "destination": QUEUE}),
        ("UNSUBSCRIBE", {"id_": "no"}),
        ("SUBSCRIBE", {"destination": QUEUE}),
        ("SUBSCRIBE", {"id_": "1"}),
        ("SEND", {}),
        ("SEND", {"destination": "/queue/a,b"}),
        ("SEND", {"destination": "/queue/a.>"}),
        ("SUBSCRIBE", {"id_": "1", "destination": "/topic/*"}),
        ("SEND", {"destination": "/no-such-kind/a"}),
    ],
)
async def test_what_cannot_be_done_is_refused_and_the_connection_stays(
    fake: FakeBroker, connect, command: str, headers: dict[str, str]
) -> None:
    wire = await connect()
    assert (await wire.done(command, **headers)).command == "ERROR"
    assert await wire.quiet()
    assert fake.messages("orders") == []


async def test_a_transaction_begins_once(connect) -> None:
    wire = await connect()
    await wire.done("BEGIN", transaction="t")
    assert "already started" in (await wire.done("BEGIN", transaction="t")).get("message")


@pytest.mark.parametrize(
    "headers",
    [
        {"expires": "abc", "destination": QUEUE},
        {"priority": "x", "destination": QUEUE},
        {"timestamp": "", "destination": QUEUE},
        {"destination": "/queue/"},
        {"destination": ""},
    ],
)
async def test_what_makes_classic_hang_up_without_a_word_does_so_here(connect, headers: dict[str, str]) -> None:
    wire = await connect()
    wire.send("SEND", **headers, receipt="1")
    with pytest.raises((EOFError, ConnectionError)):
        await wire.frame()


async def test_disconnect_is_receipted_before_the_end(connect) -> None:
    wire = await connect()
    assert (await wire.done("DISCONNECT")).command == "RECEIPT"
    with pytest.raises(EOFError):
        await wire.frame()
