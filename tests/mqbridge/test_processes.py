"""Bridge, broker and workers as processes: what they say, how they end, and what they leave."""

from __future__ import annotations

import os
import signal
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from activemq.embedded import EmbeddedBroker, Login, Role

from .conftest import Command, Start

HELLO = """
from consumers import Worker
worker = Worker()
@worker.handler("cli.hello")
async def hello(name: str) -> str:
    return "hello " + name
"""


def start_bridge(start: Start, broker: EmbeddedBroker, folder: Path, queue: str = "cli.hello") -> tuple[Command, str]:
    (folder / "bridge.toml").write_text(
        f'[server]\nbind = ["127.0.0.1:0"]\n[broker]\nurls = ["{broker.stomp_url}"]\nlogin = "{broker.login}"\n'
        f'[[route]]\nname = "hello"\npath = "/hello"\nqueue = "{queue}"\n'
    )
    bridge = start("serve", "--config", "bridge.toml", environ={"MQBRIDGE_BROKER__PASSCODE": broker.passcode})
    return bridge, bridge.wait_for("mqbridge: ready on http://").split()[-1]


def test_a_call_goes_from_curl_to_a_worker_of_the_readers_and_back(
    start: Start, broker: EmbeddedBroker, access: list[str], tmp_path: Path
) -> None:
    (tmp_path / "hello.py").write_text(HELLO)
    worker = start("work", "hello:worker", *access, "--concurrency", 2)
    assert worker.wait_for("worker ready").strip() == "mqbridge: worker ready (cli.hello × 2)"
    bridge, url = start_bridge(start, broker, tmp_path)
    answer = httpx.post(f"{url}/hello", content="Ada", headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.text) == (200, "hello Ada")
    for command in (worker, bridge):
        command.signal(signal.SIGTERM)
        assert command.exit_code() == 0, command.output
        assert broker.passcode not in command.output


def test_an_operator_looks_inside_with_the_key_that_the_bridge_printed(
    start: Start, broker: EmbeddedBroker, tmp_path: Path
) -> None:
    bridge, url = start_bridge(start, broker, tmp_path)
    key = bridge.wait_for("mqbridge: admin key ").split()[-1]
    top = start("top", "--url", url, "--once", "--json", environ={"MQBRIDGE_ADMIN_KEY": key})
    assert top.exit_code() == 0, top.output
    assert '"name": "hello"' in top.output
    key_file = tmp_path / "key"
    key_file.write_text("another")
    refused = start("top", "--url", url, "--once", "--admin-key-file", str(key_file))
    assert refused.exit_code() == 1
    assert "does not know this admin key" in refused.output
    httpx.get(f"{url}/-/api/status", headers={"authorization": f"Bearer {key}"}).raise_for_status()
    bridge.signal(signal.SIGTERM)
    assert bridge.exit_code() == 0
    assert bridge.output.count(key) == 1


@pytest.mark.every_broker
def test_check_is_content_with_a_broker_that_answers(start: Start, broker: EmbeddedBroker, tmp_path: Path) -> None:
    _, _ = start_bridge(start, broker, tmp_path)
    command = start("check", "--config", "bridge.toml", environ={"MQBRIDGE_BROKER__PASSCODE": broker.passcode})
    assert command.exit_code() == 0, command.output
    assert "✓ broker" in command.output
    assert "✓ replies to jobs: they arrive" in command.output
    assert "✗" not in command.output


def test_an_asgi_app_is_a_worker(start: Start, broker: EmbeddedBroker, access: list[str], tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "from starlette.applications import Starlette\n"
        "from starlette.responses import PlainTextResponse\n"
        "from starlette.routing import Route\n"
        "async def hello(request):\n    return PlainTextResponse('asgi ' + (await request.body()).decode())\n"
        "app = Starlette(routes=[Route('/hello', hello, methods=['POST'])])\n"
    )
    start("work", "--asgi", "app:app", "--queue", "cli.asgi", *access).wait_for("worker ready")
    _, url = start_bridge(start, broker, tmp_path, "cli.asgi")
    assert httpx.post(f"{url}/hello", content="Ada").text == "asgi Ada"


def test_reload_starts_the_worker_again_with_the_changed_file(
    start: Start, broker: EmbeddedBroker, access: list[str], tmp_path: Path
) -> None:
    (tmp_path / "hello.py").write_text(HELLO)
    worker = start("work", "hello:worker", *access, "--reload")
    worker.wait_for("worker ready (cli.hello × 1)")
    (tmp_path / "hello.py").write_text(HELLO.replace("cli.hello", "cli.changed"))
    worker.wait_for("worker ready (cli.changed × 1)")
    worker.signal(signal.SIGTERM)
    assert worker.exit_code() == 0, worker.output


async def test_a_worker_says_which_queue_it_may_not_read(start: Start, own_broker: Any, tmp_path: Path) -> None:
    limited = Login("limited", "secret-of-limited", frozenset({Role.WORKER}))
    broker = await own_broker(other_logins=[limited], worker_queues=["theirs.>"])
    (tmp_path / "hello.py").write_text(HELLO)
    worker = start(
        *("work", "hello:worker", "--broker", broker.stomp_url, "--login", "limited"),
        environ={"MQBRIDGE_BROKER__PASSCODE": limited.passcode},
    )
    assert worker.exit_code() == 1
    assert "cli.hello" in worker.output
    assert "may this login read the queue" in worker.output
    assert "Traceback" not in worker.output


@pytest.mark.parametrize("kind", ["classic", "artemis"])
def test_a_broker_of_ones_own_keeps_its_passcode_and_stops_on_ctrl_c(start: Start, tmp_path: Path, kind: str) -> None:
    first = start("broker", "--kind", kind, "--stomp-port", 0, "--openwire-port", 0, "--data", tmp_path / "data")
    first.wait_for("mqbridge: broker ready on stomp://127.0.0.1:")
    passcode = tmp_path / "data" / "passcode"
    assert stat.S_IMODE(passcode.stat().st_mode) == 0o600
    secret = passcode.read_text()
    first.signal(signal.SIGINT)
    assert first.exit_code() == 0, first.output
    second = start("broker", "--kind", kind, "--stomp-port", 0, "--openwire-port", 0, "--data", tmp_path / "data")
    second.wait_for("broker ready")
    assert passcode.read_text() == secret
    for name in ("passcode", "worker-passcode", "admin-passcode"):
        path = tmp_path / "data" / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_text().strip() not in first.output + second.output


def test_a_broker_that_is_killed_ends_the_command_and_names_its_log(start: Start, tmp_path: Path) -> None:
    command = start("broker", "--stomp-port", 0, "--openwire-port", 0, "--data", tmp_path / "data")
    command.wait_for("broker ready")
    os.kill(java_below(command.process.pid), signal.SIGKILL)
    assert command.exit_code() == 1
    assert "ended by itself" in command.output
    assert "log" in command.output


def test_a_pair_says_who_is_live_and_starts_again_what_is_killed(start: Start, tmp_path: Path) -> None:
    ports = ("--stomp-port", 0, "--openwire-port", 0)
    command = start("broker", "--ha", "shared-file", *ports, "--data", tmp_path / "data")
    command.wait_for("[broker] urls = [")
    first = command.wait_for("live: ")
    name, pid = first.split("live: ")[1].split(", pid ")
    os.kill(int(pid.split(",")[0]), signal.SIGKILL)
    command.wait_for(f"broker {name} ended (code 137); starting it again")
    command.wait_for(f"live: {'b' if name == 'a' else 'a'}")
    command.wait_for(f"broker {name} is back")
    command.signal(signal.SIGINT)
    assert command.exit_code() == 0, command.output
    assert (tmp_path / "data" / "passcode").read_text().strip() not in command.output


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--ha", "both"), "the shape must be one of shared-file, shared-jdbc, artemis-zookeeper, not 'both'"),
        (("--ha", "shared-jdbc"), "a database is needed for shared-jdbc, and for nothing else; --database names it"),
        (("--ha", "shared-jdbc", "--database", "jdbc:mariadb://h/n"), "--database needs --database-password-file"),
        (("--ha", "shared-file", "--kind", "classic"), "leave out --kind"),
        (("--database", "jdbc:mariadb://h/n"), "--database is for --ha shared-jdbc"),
    ],
)
def test_a_pair_that_cannot_be_is_refused(start: Start, tmp_path: Path, options: tuple[str, ...], reason: str) -> None:
    command = start("broker", *options, "--data", tmp_path / "data")
    assert command.exit_code() == 2
    assert reason in command.output
    assert "Traceback" not in command.output


def test_the_demo_shows_everything_as_it_should_be(start: Start) -> None:
    demo = start("demo", "--once", "--port", 0)
    assert demo.exit_code() == 0, demo.output
    assert "all as expected" in demo.output
    assert demo.output.count("$ curl") >= 14
    for shown in ("✓ 202", "progress  {", "was stopped after", "job-cancelled", "idempotency-replayed: true"):
        assert shown in demo.output


def test_the_demo_stays_up_until_ctrl_c_and_leaves_nothing_behind(start: Start) -> None:
    demo = start("demo", "--port", 0)
    demo.wait_for("Ctrl-C stops all")
    family = descendants(demo.process.pid)
    assert len(family) >= 4
    demo.signal(signal.SIGINT)
    assert demo.exit_code() == 0, demo.output
    assert not [pid for pid in family if Path(f"/proc/{pid}").exists()]


def descendants(pid: int) -> list[int]:
    """All processes below one, by /proc."""
    children = [
        int(stat_file.parent.name) for stat_file in Path("/proc").glob("[0-9]*/stat") if parent_of(stat_file) == pid
    ]
    return children + [below for child in children for below in descendants(child)]


def parent_of(stat_file: Path) -> int:
    try:
        return int(stat_file.read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def java_below(pid: int) -> int:
    return next(child for child in descendants(pid) if "java" in Path(f"/proc/{child}/comm").read_text())


def test_a_reloading_worker_that_dies_is_told_of_and_starts_again_with_the_next_change(
    start: Start, broker: EmbeddedBroker, access: list[str], tmp_path: Path
) -> None:
    (tmp_path / "hello.py").write_text(HELLO)
    worker = start("work", "hello:worker", *access, "--reload")
    worker.wait_for("worker ready (cli.hello × 1)")
    (child,) = descendants(worker.process.pid)
    os.kill(child, signal.SIGKILL)
    worker.wait_for("the worker has ended (code -9)")
    (tmp_path / "hello.py").write_text(HELLO.replace("cli.hello", "cli.again"))
    worker.wait_for("worker ready (cli.again × 1)")


def test_ctrl_c_lets_a_reloading_worker_finish_what_it_runs(
    start: Start, broker: EmbeddedBroker, access: list[str], tmp_path: Path
) -> None:
    """A terminal's Ctrl-C goes to all processes of its group."""
    slow = HELLO.replace("return", "print('begun', flush=True); await asyncio.sleep(1); return")
    (tmp_path / "hello.py").write_text("import asyncio\n" + slow)
    worker = start("work", "hello:worker", *access, "--reload")
    worker.wait_for("worker ready")
    _, url = start_bridge(start, broker, tmp_path)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.post, f"{url}/hello", content="Ada", timeout=20.0)
        worker.wait_for("begun")
        os.killpg(worker.process.pid, signal.SIGINT)
        assert answer.result().text == "hello Ada"
    assert worker.exit_code() == 0, worker.output


def test_check_says_that_nobody_listens_and_what_to_do(start: Start, broker: EmbeddedBroker, tmp_path: Path) -> None:
    start_bridge(start, broker, tmp_path, "cli.nobody")
    command = start("check", "--config", "bridge.toml", environ={"MQBRIDGE_BROKER__PASSCODE": broker.passcode})
    assert command.exit_code() == 0, command.output
    assert "! queue cli.nobody: nobody listens" in command.output
    assert "mqbridge work" in command.output
