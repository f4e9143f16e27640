"""`mqbridge serve --processes N`: real processes on one port, one store and one broker."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from .conftest import Command, Start
from .test_processes import descendants

WORKER = """
import asyncio
from consumers import Worker
worker = Worker()
@worker.handler("{queue}")
async def echo(text: str) -> str:
    if text.startswith("slow"):
        print("begun", flush=True)
        await asyncio.sleep(1.0)
    return "echo " + text
"""
PATIENCE = 60.0  # seconds, on a saturated machine


class Bridge:
    """A bridge of three processes, as it says it is."""

    def __init__(self, command: Command, folder: Path) -> None:
        self.command = command
        self.folder = folder
        self.url = command.wait_for("mqbridge: ready on http://").split()[-1]
        self.key = command.wait_for("mqbridge: admin key ").split()[-1]

    def status(self) -> dict[str, Any]:
        """What one of them says, on a connection of its own."""
        headers = {"authorization": f"Bearer {self.key}"}
        response = httpx.get(f"{self.url}/-/api/status", headers=headers, timeout=PATIENCE)
        return dict(response.raise_for_status().json())

    def seen(self, wanted: int) -> dict[int, dict[str, Any]]:
        """Ask until that many have been seen; by number."""
        found: dict[int, dict[str, Any]] = {}
        end = time.monotonic() + PATIENCE
        while len(found) < wanted:
            assert time.monotonic() < end, f"only {sorted(found)} of {wanted} were seen:\n{self.command.output}"
            status = self.status()
            found[status["process"]["number"]] = status
        return found

    def post(self, body: str, **headers: str) -> httpx.Response:
        return httpx.post(
            f"{self.url}/echo", content=body, headers={"content-type": "text/plain", **headers}, timeout=PATIENCE
        )

    def end(self) -> None:
        self.command.signal(signal.SIGTERM)
        assert self.command.exit_code() == 0, self.command.output


def config(broker: Any, queue: str, implementation: str = "auto", bind: str = "127.0.0.1:0") -> str:
    return (
        f'[server]\nbind = ["{bind}"]\nimplementation = "{implementation}"\n'
        f'[broker]\nurls = ["{broker.stomp_url}"]\nlogin = "{broker.login}"\n'
        f'[store]\nurl = "sqlite:///jobs.db"\n'
        f'[[route]]\nname = "echo"\npath = "/echo"\nqueue = "{queue}"\n'
    )


def start_bridge(
    start: Start, broker: Any, folder: Path, queue: str, *, processes: int = 3, implementation: str = "auto"
) -> Bridge:
    (folder / "bridge.toml").write_text(config(broker, queue, implementation))
    environ = {"MQBRIDGE_BROKER__PASSCODE": broker.passcode}
    return Bridge(start("serve", "--config", "bridge.toml", "--processes", processes, environ=environ), folder)


def start_worker(start: Start, broker: Any, folder: Path, queue: str) -> Command:
    (folder / "echo.py").write_text(WORKER.format(queue=queue))
    options = "--broker", broker.stomp_url, "--login", broker.login, "--concurrency", 8
    worker = start("work", "echo:worker", *options, environ={"MQBRIDGE_BROKER__PASSCODE": broker.passcode})
    worker.wait_for("worker ready")
    return worker


def eventually(condition: Any, what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what} did not come true"
        time.sleep(0.02)


@pytest.mark.parametrize("implementation", ["uvicorn", "hypercorn"])
def test_all_serve_on_one_port_with_one_key_and_end_together(
    start: Start, broker: Any, tmp_path: Path, implementation: str
) -> None:
    queue = f"many.{implementation}"
    start_worker(start, broker, tmp_path, queue)
    bridge = start_bridge(start, broker, tmp_path, queue, implementation=implementation)
    seen = bridge.seen(3)
    assert {status["process"]["of"] for status in seen.values()} == {3}
    assert len({status["process"]["pid"] for status in seen.values()}) == 3
    assert [bridge.post(f"{n}").text for n in range(20)] == [f"echo {n}" for n in range(20)]
    family = descendants(bridge.command.process.pid)
    assert len(family) == 3
    bridge.end()
    assert not [pid for pid in family if Path(f"/proc/{pid}").exists()]
    output = bridge.command.output
    assert output.count("mqbridge: ready on") == output.count("admin key") - 1 == 1  # the key, and what it opens
    assert broker.passcode not in output


def test_what_is_held_is_finished_when_all_drain(start: Start, broker: Any, tmp_path: Path) -> None:
    worker = start_worker(start, broker, tmp_path, "many.drain")
    bridge = start_bridge(start, broker, tmp_path, "many.drain")
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(bridge.post, f"slow {number}") for number in range(6)]
        eventually(lambda: worker.output.count("begun") == 6, "all six run")
        bridge.end()
        assert [answer.result().text for answer in answers] == [f"echo slow {number}" for number in range(6)]


def test_one_that_is_killed_is_started_again_and_its_callers_go_to_the_others(
    start: Start, broker: Any, tmp_path: Path
) -> None:
    start_worker(start, broker, tmp_path, "many.kill")
    bridge = start_bridge(start, broker, tmp_path, "many.kill")
    before = bridge.seen(3)
    victim = before[2]["process"]["pid"]
    os.kill(victim, signal.SIGKILL)
    bridge.command.wait_for("bridge 2 has ended (code -9)")
    outcomes = Counter(bridge.post("x").status_code for _ in range(100))
    assert outcomes == {200: 100}
    eventually(lambda: bridge.seen(3)[2]["process"]["pid"] != victim, "another sits in its place")
    assert bridge.seen(3)[2]["ready"]
    bridge.end()
    assert bridge.command.output.count("mqbridge: ready on") == 1


def test_nobody_is_left_when_the_parent_is_killed(start: Start, broker: Any, tmp_path: Path) -> None:
    bridge = start_bridge(start, broker, tmp_path, "many.orphans")
    parent = bridge.command.process.pid
    family = descendants(parent)
    assert len(family) == 3
    # The kernel tells them at the end of each thread, and two words mean "at once".
    assert len(list(Path(f"/proc/{parent}/task").iterdir())) == 1
    bridge.command.signal(signal.SIGKILL)
    eventually(lambda: not [pid for pid in family if Path(f"/proc/{pid}").exists()], "all are gone")


@pytest.mark.parametrize("how", ["SIGHUP", "page"])
def test_a_reload_reaches_all(start: Start, broker: Any, tmp_path: Path, how: str) -> None:
    bridge = start_bridge(start, broker, tmp_path, f"many.reload.{how}")
    bridge.seen(3)
    with (tmp_path / "bridge.toml").open("a") as file:
        file.write('[[route]]\nname = "new"\npath = "/new"\nqueue = "many.new"\n')
    if how == "SIGHUP":
        bridge.command.signal(signal.SIGHUP)
    else:
        headers = {"authorization": f"Bearer {bridge.key}"}
        answer = httpx.post(f"{bridge.url}/-/reload", headers=headers, timeout=PATIENCE).raise_for_status()
        assert answer.json()["added"] == ["new"]
    eventually(lambda: all(len(one["routes"]) == 2 for one in bridge.seen(3).values()), "all have the new route")
    bridge.end()


def test_a_faulty_file_neither_ends_a_bridge_nor_its_other_processes(start: Start, broker: Any, tmp_path: Path) -> None:
    bridge = start_bridge(start, broker, tmp_path, "many.faulty", processes=2)
    good = (tmp_path / "bridge.toml").read_text()
    victim = bridge.seen(2)[1]["process"]["pid"]
    (tmp_path / "bridge.toml").write_text("[server\n")
    os.kill(victim, signal.SIGKILL)
    bridge.command.wait_for("bridge 1 has ended (code 2)")
    assert bridge.status()["process"]["number"] == 2
    (tmp_path / "bridge.toml").write_text(good)
    eventually(lambda: bridge.seen(2)[1]["ready"], "the first is back")
    bridge.end()


def test_one_key_is_one_job_whichever_process_gets_it(start: Start, broker: Any, tmp_path: Path) -> None:
    """They share one SQLite file, which none of them has seen before."""
    start_worker(start, broker, tmp_path, "many.keys")
    bridge = start_bridge(start, broker, tmp_path, "many.keys", processes=4)
    bridge.seen(4)
    with ThreadPoolExecutor(16) as pool:
        keyed = [
            (number, pool.submit(bridge.post, f"{number}", **{"idempotency-key": f"key-{number}"}))
            for number in range(40)
            for _ in range(4)
        ]
        for number, answer in keyed:
            assert (answer.result().status_code, answer.result().text) == (200, f"echo {number}")
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as store:
        query = "SELECT count(*), count(DISTINCT key_sha256), min(state), max(state) FROM jobs"
        assert store.execute(query).fetchone() == (40, 40, "done", "done")
    bridge.end()


def test_top_adds_them_up(start: Start, broker: Any, tmp_path: Path) -> None:
    start_worker(start, broker, tmp_path, "many.top")
    bridge = start_bridge(start, broker, tmp_path, "many.top")
    for number in range(12):
        bridge.post(f"{number}").raise_for_status()
    top = start("top", "--url", bridge.url, "--once", environ={"MQBRIDGE_ADMIN_KEY": bridge.key})
    assert top.exit_code() == 0, top.output
    assert "3 of 3 processes" in top.output
    (line,) = [line for line in top.output.splitlines() if line.startswith("echo")]
    assert line.split()[-2] == "12"
    bridge.end()


def test_a_port_that_is_taken_is_said_before_anything_starts(start: Start, broker: Any, tmp_path: Path) -> None:
    bridge = start_bridge(start, broker, tmp_path, "many.taken", processes=2)
    (tmp_path / "second.toml").write_text(config(broker, "q", bind=bridge.url.removeprefix("http://")))
    for options in ((), ("--processes", 2)):
        environ = {"MQBRIDGE_BROKER__PASSCODE": broker.passcode}
        second = start("serve", "--config", "second.toml", *options, environ=environ)
        assert second.exit_code() == 1
        assert "Address already in use; is another bridge running?" in second.output
    bridge.end()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--processes", 0), "--processes"),
        (("--place", "nonsense"), "is for processes that --processes starts"),
        (("--place", "1/2:7777"), "is for processes that --processes starts"),
    ],
)
def test_a_wrong_command_line_is_refused(start: Start, broker: Any, tmp_path: Path, options: Any, said: str) -> None:
    (tmp_path / "bridge.toml").write_text(config(broker, "q"))
    environ = {"MQBRIDGE_BROKER__PASSCODE": broker.passcode}
    command = start("serve", "--config", "bridge.toml", *options, environ=environ)
    assert command.exit_code() == 2
    assert said in command.output


def test_a_configuration_with_faults_is_refused_once(start: Start, tmp_path: Path) -> None:
    (tmp_path / "bridge.toml").write_text("[server]\nmax_held = 0\n")
    command = start("serve", "--config", "bridge.toml", "--processes", 3)
    assert command.exit_code() == 2
    assert command.output.count("max_held") == 1


def test_a_log_that_nobody_reads_any_more_stops_nobody(start: Start, broker: Any, tmp_path: Path) -> None:
    """The parent is killed while a call is held: its process drains although its log leads nowhere."""
    worker = start_worker(start, broker, tmp_path, "many.log")
    bridge = start_bridge(start, broker, tmp_path, "many.log", processes=2)
    answers: list[str] = []
    calling = threading.Thread(target=lambda: answers.append(bridge.post("slow").text))
    calling.start()
    worker.wait_for("begun")
    bridge.command.signal(signal.SIGKILL)
    calling.join(PATIENCE)
    assert answers == ["echo slow"]


def scraped(bridge: Bridge) -> dict[str, dict[str, float]]:
    """What one scrape tells, at whichever process: calls that were answered and who told, by process."""
    headers = {"authorization": f"Bearer {bridge.key}", "accept": "application/openmetrics-text; version=1.0.0"}
    text = httpx.get(f"{bridge.url}/-/metrics", headers=headers, timeout=PATIENCE).raise_for_status().text
    found: dict[str, dict[str, float]] = {"mqbridge_calls_total": {}, "mqbridge_process_up": {}}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert "process" in sample.labels, sample
            if sample.name in found and sample.labels.get("outcome", "2xx") == "2xx":
                found[sample.name][sample.labels["process"]] = sample.value
    return found


def test_a_scrape_tells_of_all_processes_whichever_it_comes_to(start: Start, broker: Any, tmp_path: Path) -> None:
    start_worker(start, broker, tmp_path, "many.metrics")
    bridge = start_bridge(start, broker, tmp_path, "many.metrics")
    bridge.seen(3)
    for number in range(30):
        assert bridge.post(f"{number}").status_code == 200
    for _ in range(6):  # each at one of them, by chance
        figures = scraped(bridge)
        assert figures["mqbridge_process_up"] == {"1": 1.0, "2": 1.0, "3": 1.0}
        assert sum(figures["mqbridge_calls_total"].values()) == 30
    victim = bridge.seen(3)[2]["process"]["pid"]
    os.kill(victim, signal.SIGKILL)
    bridge.command.wait_for("bridge 2 has ended (code -9)")
    assert scraped(bridge)["mqbridge_process_up"].keys() == {"1", "2", "3"}  # soon 0, soon 1 again
    eventually(lambda: bridge.seen(3)[2]["process"]["pid"] != victim, "another sits in its place")
    assert scraped(bridge)["mqbridge_process_up"]["2"] == 1.0
    bridge.end()
