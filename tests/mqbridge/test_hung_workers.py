"""Workers that hang, as processes at a real broker: they end, say why, and others do their work."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from activemq.embedded import EmbeddedBroker
from consumers.watchdog import HUNG

from .conftest import Command, Start

# The first of the processes that is given "hang" hangs; `how` is what it does then.
WORKER = """
import asyncio, os, time
from consumers import Worker
worker = Worker()
def is_first():
    try:
        os.close(os.open("hung", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    print("hangs", flush=True)
    return True
@worker.handler("{queue}")
{how}
"""
HOW = {
    "a thread that does not look whether it is cancelled": """
def handle(text: str) -> str:
    while text == "hang" and is_first():
        time.sleep(1_000)
    return f"{text} {os.getpid()}"
""",
    "a coroutine that blocks the loop": """
async def handle(text: str) -> str:
    if text == "hang" and is_first():
        time.sleep(1_000)
    return f"{text} {os.getpid()}"
""",
    "a coroutine that swallows its cancellation": """
async def handle(text: str) -> str:
    if text == "hang" and is_first():
        while True:
            try:
                await asyncio.sleep(1_000)
            except asyncio.CancelledError:
                pass
    return f"{text} {os.getpid()}"
""",
}
QUICK = ("--hung-after", "0.5", "--longest", "0.5")


def bridge_for(start: Start, broker: EmbeddedBroker, folder: Path, queue: str, timeout: str) -> str:
    (folder / "bridge.toml").write_text(
        f'[server]\nbind = ["127.0.0.1:0"]\n[broker]\nurls = ["{broker.stomp_url}"]\nlogin = "{broker.login}"\n'
        f'[[route]]\nname = "hang"\npath = "/hang"\nqueue = "{queue}"\ntimeout = "{timeout}"\nworker_wait = "1s"\n'
    )
    bridge = start("serve", "--config", "bridge.toml", environ={"MQBRIDGE_BROKER__PASSCODE": broker.passcode})
    return bridge.wait_for("mqbridge: ready on http://").split()[-1]


def call(url: str, text: str) -> httpx.Response:
    return httpx.post(f"{url}/hang", content=text, headers={"content-type": "text/plain"}, timeout=60)


def write_worker(folder: Path, name: str, queue: str, how: str) -> None:
    (folder / f"{name}.py").write_text(WORKER.format(queue=queue, how=how.strip()))


def said_why(worker: Command) -> None:
    assert f"the worker ends with exit code {HUNG}" in worker.output
    assert "most recent call first" in worker.output  # where its threads are


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_a_hung_worker_ends_and_another_answers_its_call(
    start: Start, broker: EmbeddedBroker, access: list[str], tmp_path: Path, how: str
) -> None:
    queue = f"hung.{tmp_path.name}"[:100]
    write_worker(tmp_path, "hung", queue, how)
    first = start("work", "hung:worker", *access, *QUICK)
    first.wait_for("worker ready")
    url = bridge_for(start, broker, tmp_path, queue, "30s")
    with ThreadPoolExecutor() as pool:
        calling = pool.submit(call, url, "hang")
        first.wait_for("hangs")
        second = start("work", "hung:worker", *access, *QUICK)
        second.wait_for("worker ready")
        assert first.exit_code() == HUNG
        answer = calling.result()
    assert (answer.status_code, answer.text) == (200, f"hang {second.process.pid}")
    said_why(first)
    second.signal(signal.SIGTERM)
    assert second.exit_code() == 0


def test_a_handler_that_goes_on_after_its_budget_and_its_grace_has_hung(
    start: Start, broker: EmbeddedBroker, access: list[str], tmp_path: Path
) -> None:
    queue = f"budget.{tmp_path.name}"[:100]
    write_worker(tmp_path, "budget", queue, HOW["a coroutine that swallows its cancellation"])
    worker = start("work", "budget:worker", *access, "--hung-after", "0.5")
    worker.wait_for("worker ready")
    url = bridge_for(start, broker, tmp_path, queue, "1s")
    assert call(url, "hang").status_code == 504
    assert worker.exit_code() == HUNG
    said_why(worker)


def test_a_worker_above_which_there_is_another_process_is_started_again(
    start: Start, broker: EmbeddedBroker, access: list[str], tmp_path: Path
) -> None:
    queue = f"again.{tmp_path.name}"[:100]
    write_worker(tmp_path, "again", queue, HOW["a coroutine that blocks the loop"])
    parent = start("work", "again:worker", *access, *QUICK, "--processes", "1")
    parent.wait_for("mqbridge: worker ready")
    url = bridge_for(start, broker, tmp_path, queue, "30s")
    before = call(url, "who").text
    after = call(url, "hang")
    assert after.status_code == 200
    assert after.text.split()[1] != before.split()[1]  # the one that was started in its place
    assert parent.wait_for(f"worker 1 has ended (code {HUNG}); another is started")
    parent.signal(signal.SIGTERM)
    assert parent.exit_code() == 0, parent.output


def test_without_a_watchdog_a_handler_may_take_as_long_as_it_likes(
    start: Start, broker: EmbeddedBroker, access: list[str], tmp_path: Path
) -> None:
    queue = f"never.{tmp_path.name}"[:100]
    how = "def handle(text: str) -> str:\n    time.sleep(1.5)\n    return text\n"
    write_worker(tmp_path, "never", queue, how)
    worker = start("work", "never:worker", *access, "--hung-after", "0", "--longest", "0.1")
    worker.wait_for("worker ready")
    url = bridge_for(start, broker, tmp_path, queue, "30s")
    assert call(url, "slow").text == "slow"
    worker.signal(signal.SIGTERM)
    assert worker.exit_code() == 0


@pytest.mark.parametrize("option", [("--reload",), ("--http", ":0"), ("--health-file", "health")])
def test_several_workers_go_with_no_option_that_is_for_one(
    start: Start, tmp_path: Path, option: tuple[str, ...]
) -> None:
    (tmp_path / "one.py").write_text("from consumers import Worker\nworker = Worker()\n")
    command = start("work", "one:worker", "--processes", "2", *option)
    assert command.exit_code() == 2
    assert "--processes goes with none of" in command.output


def test_a_worker_that_cannot_start_ends_all(start: Start, access: list[str], tmp_path: Path) -> None:
    command = start("work", "nothing:worker", *access, "--processes=2")
    assert command.exit_code() == 2, command.output
    assert "nothing" in command.output
