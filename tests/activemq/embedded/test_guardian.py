"""The guardian for real: processes are killed, and what they guarded must be gone."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from activemq.embedded import process as process_module
from activemq.embedded.process import BrokerProcess, start_process

STUBBORN = "trap '' TERM; echo ready; exec sleep 600"

# A program that starts a guarded `sleep` and prints the process ids of it, its guardian and a forked copy of itself.
PARENT = """
import asyncio, os, signal, sys
from pathlib import Path
from activemq.embedded.process import start_process

async def main():
    folder = Path(sys.argv[1])
    hold = os.open("/dev/null", os.O_RDONLY)
    remove = folder if "remove" in sys.argv else None
    guarded = await start_process(["sleep", "600"], folder=folder, output=2, hold=hold, remove=remove)
    copy = os.fork() if "fork" in sys.argv else -1  # it holds a copy of the pipe to the guardian
    if copy == 0:
        signal.pause()
    print(guarded.pid, guarded.guardian_pid, copy, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@dataclass
class Parent:
    program: subprocess.Popen[str]
    guarded: int
    guardian: int
    copy: int

    def kill(self) -> None:
        self.program.kill()
        self.program.wait()


@pytest.fixture
def hold():
    descriptor = os.open(os.devnull, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def output(tmp_path):
    with (tmp_path / "output").open("wb") as stream:
        yield stream.fileno()


@pytest.fixture
async def guard(tmp_path, hold, output):
    """``await guard(*command)``: a guarded process that ends with the test."""
    started: list[BrokerProcess] = []

    async def start(*command: str, remove: Path | None = None) -> BrokerProcess:
        process = await start_process(command, folder=tmp_path, output=output, hold=hold, remove=remove)
        started.append(process)
        return process

    yield start
    for process in started:
        await process.kill()


@pytest.fixture
def parent(tmp_path):
    """``parent(*options)``: a program with a guarded child."""
    running: list[Parent] = []

    def start(*options: str) -> Parent:
        folder = tmp_path / "data"
        folder.mkdir()
        command = [sys.executable, "-c", PARENT, str(folder), *options]
        program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert program.stdout is not None
        one = Parent(program, *map(int, program.stdout.readline().split()))
        running.append(one)
        return one

    yield start
    for one in running:
        one.kill()
        one.program.stdout.close()
        if one.copy > 0:
            os.kill(one.copy, signal.SIGKILL)


async def test_the_exit_code_of_the_broker_is_ours(guard):
    assert await (await guard("sh", "-c", "exit 3")).wait() == 3


async def test_a_broker_that_a_signal_ended_gives_128_and_its_number(guard, gone):
    process = await guard("sleep", "600")
    os.kill(process.pid, signal.SIGSEGV)
    assert await process.wait() == 128 + signal.SIGSEGV
    assert gone(process.guardian_pid)


async def test_stop_is_sigterm(guard):
    process = await guard("sleep", "600")
    assert process.running
    assert await process.stop() == 128 + signal.SIGTERM
    assert not process.running


async def test_a_broker_that_ignores_sigterm_is_killed_after_the_grace(guard, tmp_path, until, monkeypatch, gone):
    monkeypatch.setattr(process_module, "STOP_GRACE", 0.2)
    process = await guard("sh", "-c", STUBBORN)
    await until(lambda: "ready" in (tmp_path / "output").read_text())
    assert await process.stop() == 128 + signal.SIGKILL
    assert gone(process.pid)


async def test_a_stopped_broker_is_killed_after_the_grace(guard, monkeypatch, until):
    monkeypatch.setattr(process_module, "STOP_GRACE", 0.2)
    process = await guard("sleep", "600")
    os.kill(process.pid, signal.SIGSTOP)
    await until(lambda: ") T " in Path(f"/proc/{process.pid}/stat").read_text())
    assert await process.stop() == 128 + signal.SIGKILL


async def test_kill_is_sigkill_at_once(guard):
    process = await guard("sh", "-c", STUBBORN)
    assert await process.kill() == 128 + signal.SIGKILL


async def test_stop_and_kill_after_the_end_do_nothing(guard):
    process = await guard("true")
    await process.wait()
    assert await process.stop() == 0
    assert await process.kill() == 0


async def test_a_kill_overtakes_a_stop_that_hangs(guard, tmp_path, until):
    process = await guard("sh", "-c", STUBBORN)
    await until(lambda: "ready" in (tmp_path / "output").read_text())
    stopping = asyncio.create_task(process.stop())
    await asyncio.sleep(0)
    assert await process.kill() == 128 + signal.SIGKILL
    assert await stopping == 128 + signal.SIGKILL


async def test_a_program_that_does_not_exist_is_an_oserror(guard):
    with pytest.raises(OSError, match="/no/such/java could not be started"):
        await guard("/no/such/java")


async def test_the_broker_runs_in_a_session_of_its_own(guard):
    process = await guard("sleep", "600")
    assert os.getsid(process.pid) == os.getsid(process.guardian_pid) == process.guardian_pid


def descriptors(pid: int) -> set[str]:
    return {one.name for one in Path(f"/proc/{pid}/fd").iterdir()}


async def test_the_broker_inherits_neither_the_lock_nor_the_pipe(guard, until):
    process = await guard("sleep", "600")
    await until(lambda: descriptors(process.pid) == {"0", "1", "2"})  # it opens its libraries for a moment


async def test_cancelling_a_start_leaves_nothing_behind(tmp_path, hold, output, monkeypatch, until, gone):
    pids: list[int] = []
    spawn = asyncio.create_subprocess_exec

    async def spawn_and_cancel(*arguments, **options):
        guardian = await spawn(*arguments, **options)
        pids.append(guardian.pid)
        asyncio.get_running_loop().call_soon(starting.cancel)
        return guardian

    monkeypatch.setattr(asyncio, "create_subprocess_exec", spawn_and_cancel)
    starting = asyncio.ensure_future(
        start_process(["sh", "-c", "echo $$ >pid; exec sleep 600"], folder=tmp_path, output=output, hold=hold)
    )
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert gone(pids[0])
    written = tmp_path / "pid"
    if written.exists() and written.read_text().strip():  # it may have been killed before it wrote
        assert gone(int(written.read_text()))


async def test_kill_9_of_the_parent_ends_the_broker(parent, until, gone):
    one = parent()
    assert not gone(one.guarded)
    one.kill()
    await until(lambda: gone(one.guarded) and gone(one.guardian))


async def test_a_temporary_folder_goes_with_a_killed_parent(parent, until, gone, tmp_path):
    one = parent("remove")
    one.kill()
    await until(lambda: gone(one.guardian))
    assert not (tmp_path / "data").exists()


async def test_a_named_folder_stays_when_the_parent_is_killed(parent, until, gone, tmp_path):
    one = parent()
    one.kill()
    await until(lambda: gone(one.guardian))
    assert (tmp_path / "data").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pidfd is Linux's")
async def test_a_forked_copy_of_the_pipe_does_not_keep_the_broker_alive(parent, until, gone):
    one = parent("fork")
    one.kill()
    await until(lambda: gone(one.guarded))
    assert not gone(one.copy)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="PR_SET_PDEATHSIG is Linux's")
async def test_kill_9_of_the_guardian_ends_the_broker(guard, until, gone):
    process = await guard("sleep", "600")
    os.kill(process.guardian_pid, signal.SIGKILL)
    assert await process.wait() == 128 + signal.SIGKILL
    await until(lambda: gone(process.pid))


async def test_where_the_kernel_does_not_see_to_it_the_parent_ends_the_group(guard, until, gone):
    """The guardian is killed after its child has thrown off the kernel's promise, as outside Linux."""
    drop = "import ctypes, os; ctypes.CDLL(None).prctl(1, 0, 0, 0, 0); os.execvp('sleep', ['sleep', '600'])"
    process = await guard(sys.executable, "-c", drop)
    await until(lambda: b"sleep" in Path(f"/proc/{process.pid}/cmdline").read_bytes()[:6])
    os.kill(process.guardian_pid, signal.SIGKILL)
    await process.wait()
    await until(lambda: gone(process.pid))


async def test_sigterm_to_the_guardian_stops_the_broker(guard, gone):
    process = await guard("sleep", "600")
    os.kill(process.guardian_pid, signal.SIGTERM)
    assert await process.wait() == 128 + signal.SIGTERM
    assert gone(process.pid)


async def test_ctrl_c_and_hang_up_do_not_reach_the_broker(guard):
    process = await guard("sleep", "600")
    for number in (signal.SIGINT, signal.SIGHUP):
        os.killpg(process.guardian_pid, number)
    assert await process.stop() == 128 + signal.SIGTERM


def test_a_guardian_whose_parent_is_not_the_one_it_was_told_starts_nothing(tmp_path):
    guardian = Path(process_module.__file__).with_name("guardian.py")
    outcome = subprocess.run(
        [sys.executable, "-I", "-S", guardian, "--parent", "1", "--", "touch", str(tmp_path / "ran")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert outcome.returncode == 1
    assert not (tmp_path / "ran").exists()
