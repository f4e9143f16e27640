"""Who watches over several processes: starts again what dies, passes signals on, and ends with all of them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager

import pytest

from activemq import Backoff
from bridge.listening import share
from mqbridge.commands.processes import READY, Kind, Supervisor
from tests.bridge.callers import PATIENCE, until

AT_ONCE = Backoff(first=0.0, cap=0.0)
# What stands for a bridge: `ready` and `waits` are lines of Python that a test puts together.
SCRIPT = """
import os, signal, sys, time
def say(line): print(line, file=sys.stderr, flush=True)
def ready(): say("mqbridge: ready on http://127.0.0.1:1")
def drain(code): signal.signal(signal.SIGTERM, lambda *_: sys.exit(code))
def count(name):
    with open(name, "a") as file: file.write("x")
    return os.path.getsize(name)
number = int(sys.argv[1])
"""
SERVES = "drain(0); ready(); time.sleep(60)"


class Stage:
    def __init__(self, tmp_path, code, backoff=AT_ONCE, drain=5.0, number=2):
        self.pids = {}  # all that were started, by seat
        self._code = code
        self._folder = tmp_path
        self.supervisor = Supervisor(share(["127.0.0.1:0"], number), self._spawn, Kind("bridge", READY, drain), backoff)

    async def _spawn(self, number, sockets):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", SCRIPT + self._code, str(number)),
            cwd=self._folder, stderr=asyncio.subprocess.PIPE, pass_fds=[sock.fileno() for sock in sockets],
        )  # fmt: skip
        self.pids.setdefault(number, []).append(process.pid)
        return process

    @property
    def all_pids(self):
        return [pid for pids in self.pids.values() for pid in pids]


@asynccontextmanager
async def supervised(stage):
    task = asyncio.create_task(stage.supervisor.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        for place in stage.supervisor._seats:
            for sock in place._sockets:
                sock.close()


async def ended(task):
    async with asyncio.timeout(PATIENCE):
        return await task


def me(number):
    os.kill(os.getpid(), number)


async def test_ready_is_said_once_when_all_are(tmp_path, capfd):
    stage = Stage(tmp_path, "drain(0)\nwhile number == 1 and not os.path.exists('go'): time.sleep(0.01)\n" + SERVES)
    async with supervised(stage) as task:
        await until(lambda: len(stage.all_pids) == 2)
        await until(lambda: stage.supervisor._seats[1].ready)
        assert READY not in capfd.readouterr().err
        (tmp_path / "go").touch()
        await until(lambda: stage.supervisor._announced)
        os.kill(stage.pids[2][0], signal.SIGKILL)
        await until(lambda: len(stage.pids[2]) == 2)
        await until(lambda: stage.supervisor._seats[1].ready)
        me(signal.SIGTERM)
        assert await ended(task) == 0
    assert capfd.readouterr().err.count(f"{READY}http://127.0.0.1:1\n") == 1


async def test_all_else_that_they_say_is_passed_on_with_their_numbers(tmp_path, capfd):
    stage = Stage(tmp_path, "say('trouble'); say('y' * 3_000_000); say('after a line without end')\n" + SERVES)
    async with supervised(stage) as task:
        await until(lambda: stage.supervisor._announced)
        me(signal.SIGTERM)
        await ended(task)
    said = capfd.readouterr().err
    for number in (1, 2):
        assert f"[bridge {number} {stage.pids[number][0]}] trouble\n" in said
        assert f"[bridge {number} {stage.pids[number][0]}] after a line without end\n" in said


@pytest.mark.parametrize(
    "how", ["time.sleep(0.2); os.kill(os.getpid(), 9)", "time.sleep(0.2); sys.exit(2)", "sys.exit(0)"]
)
async def test_one_that_ends_by_itself_is_started_again_in_its_own_place(tmp_path, how):
    again = f"while not os.path.exists('go'): time.sleep(0.01)\n    {how}"
    stage = Stage(tmp_path, f"drain(0); ready()\nif number == 2 and count('lives') < 3:\n    {again}\ntime.sleep(60)")
    async with supervised(stage) as task:
        await until(lambda: stage.supervisor._announced)
        (tmp_path / "go").touch()
        await until(lambda: len(stage.pids[2]) == 3)
        await until(lambda: stage.supervisor._seats[1].ready)
        assert len(stage.pids[1]) == 1
        me(signal.SIGTERM)
        assert await ended(task) == 0
    assert not any(is_there(pid) for pid in stage.all_pids)


async def test_one_that_dies_is_started_again_although_what_it_has_started_lives_on(tmp_path):
    child = "import subprocess\nif count('lives') == 1: subprocess.Popen(['sleep', '60']); os.kill(os.getpid(), 9)\n"
    stage = Stage(tmp_path, child + SERVES, number=1)
    async with supervised(stage) as task:
        await until(lambda: len(stage.pids.get(1, ())) == 2)  # PATIENCE is less than its minute
        await until(lambda: stage.supervisor._announced)
        me(signal.SIGTERM)
        assert await ended(task) == 0


async def test_one_that_dies_again_and_again_is_started_more_and_more_slowly(tmp_path):
    asked = []

    class Asked(Backoff):
        def delay(self, failures):
            asked.append(failures)
            return 0.0

    stage = Stage(tmp_path, "os.kill(os.getpid(), 9) if number == 2 else None\n" + SERVES, Asked())
    async with supervised(stage):
        await until(lambda: len(asked) >= 4)
    assert asked[:4] == [1, 2, 3, 4]


@pytest.mark.parametrize("code", [1, 2])
async def test_one_that_refuses_to_start_ends_all_with_its_code(tmp_path, code):
    stage = Stage(tmp_path, f"sys.exit({code}) if number == 1 else None\n" + SERVES)
    async with supervised(stage) as task:
        assert await ended(task) == code
    assert not any(is_there(pid) for pid in stage.all_pids)


async def test_one_that_is_killed_while_it_starts_is_no_refusal(tmp_path):
    stage = Stage(tmp_path, "os.kill(os.getpid(), 9) if number == 1 and count('lives') == 1 else None\n" + SERVES)
    async with supervised(stage):
        await until(lambda: stage.supervisor._announced)
    assert len(stage.pids[1]) == 2


async def test_a_drain_that_cut_calls_is_code_1(tmp_path):
    stage = Stage(tmp_path, "drain(number - 1); ready(); time.sleep(60)")
    async with supervised(stage) as task:
        await until(lambda: stage.supervisor._announced)
        me(signal.SIGINT)
        assert await ended(task) == 1


async def test_sigterm_while_they_start_is_a_clean_end(tmp_path):
    stage = Stage(tmp_path, "time.sleep(60)")
    async with supervised(stage) as task:
        await until(lambda: len(stage.all_pids) == 2)
        me(signal.SIGTERM)
        assert await ended(task) == 0


async def test_a_second_signal_is_passed_on(tmp_path):
    stubborn = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(1) if count(f'asked{number}') == 2 else None)\n"
    stage = Stage(tmp_path, stubborn + "ready()\nwhile True: time.sleep(60)")
    async with supervised(stage) as task:
        await until(lambda: stage.supervisor._announced)
        me(signal.SIGTERM)
        await until(lambda: all((tmp_path / f"asked{number}").exists() for number in (1, 2)))
        assert not task.done()
        me(signal.SIGTERM)
        assert await ended(task) == 1


async def test_one_that_does_not_end_in_its_time_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("mqbridge.commands.processes.SPARE", 0.2)
    stage = Stage(tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN); ready(); time.sleep(60)", drain=0.1)
    async with supervised(stage) as task:
        await until(lambda: stage.supervisor._announced)
        me(signal.SIGTERM)
        assert await ended(task) == 1
    assert not any(is_there(pid) for pid in stage.all_pids)


async def test_a_reload_reaches_one_that_is_just_starting_once_it_is_ready(tmp_path):
    """SIGHUP would kill a process that does not know it yet."""
    code = "while number == 1 and not os.path.exists('go'): time.sleep(0.01)\n"
    code += "signal.signal(signal.SIGHUP, lambda *_: count(f'asked{number}'))\ndrain(0); ready()\n"
    stage = Stage(tmp_path, code + "while True: time.sleep(60)")
    async with supervised(stage) as task:
        await until(lambda: len(stage.all_pids) == 2 and stage.supervisor._seats[1].ready)
        me(signal.SIGHUP)
        await until((tmp_path / "asked2").exists)
        (tmp_path / "go").touch()
        await until((tmp_path / "asked1").exists)
        me(signal.SIGTERM)
        assert await ended(task) == 0


async def test_a_process_that_cannot_be_started_is_tried_again(tmp_path, caplog):
    stage = Stage(tmp_path, SERVES)
    spawn, failures = stage.supervisor._spawn, []

    async def scarce(number, sockets):
        if len(failures) < 2:
            failures.append(number)
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return await spawn(number, sockets)

    stage.supervisor._spawn = scarce
    async with supervised(stage):
        await until(lambda: stage.supervisor._announced)
    assert "cannot be started: Resource temporarily unavailable" in caplog.text


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
