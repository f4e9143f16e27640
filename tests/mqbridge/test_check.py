"""What `mqbridge check` looks at besides the file and the broker's answer: rights to queues, and the store."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from activemq.embedded import Login, Role
from activemq.testing import FakeBroker
from bridge.jobs.sql import SqlStore
from mqbridge.commands.check import check
from tests.bridge.harness import ToldWorker

ROUTE = '[[route]]\nname = "{0}"\npath = "/{0}"\nqueue = "{0}"\n'
HELD = 'async = "never"\nidempotency = "off"\n'


def write(folder: Path, broker: Any, *queues: str, login: str = "", more: str = "", store: str = "sqlite:///jobs.db"):
    """A bridge's file; ``login``: NAME PASSCODE, else the broker's own."""
    name, _, passcode = login.partition(" ")
    config = folder / "bridge.toml"
    file = folder / "passcode"
    file.write_text(passcode or getattr(broker, "passcode", "secret"))
    file.chmod(0o600)
    at = getattr(broker, "stomp_url", None) or broker.url
    config.write_text(
        f'[broker]\nurls = ["{at}"]\nlogin = "{name or getattr(broker, "login", "bridge")}"\n'
        f'passcode_file = "passcode"\n[store]\nurl = "{store}"\n' + more.join([*map(ROUTE.format, queues), ""])
    )
    return config


async def found(config: Path, capsys: Any) -> tuple[int, dict[str, dict[str, Any]]]:
    code = await check(config, as_json=True)
    return code, {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}


@pytest.mark.parametrize("kind", ["classic", "artemis"])
async def test_a_queue_that_the_login_may_not_write_to_is_named(own_broker, kind, tmp_path, capsys):
    limited = Login("limited", "secret-of-limited", frozenset({Role.WORKER}))
    broker = await own_broker(kind=kind, other_logins=[limited], worker_queues=["theirs.>"])
    config = write(tmp_path, broker, "theirs.a", "ours", login=f"limited {limited.passcode}")
    code, findings = await found(config, capsys)
    assert code == 1
    assert findings["permission theirs.a"]["ok"]
    refused = findings["permission ours"]
    assert not refused["ok"]
    assert "'limited' may not send" in refused["detail"]
    assert "right to write" in refused["advice"]
    assert findings["broker"]["ok"]  # the connection has survived it


@pytest.mark.every_broker
async def test_to_look_sends_nothing(broker, tmp_path, capsys):
    config = write(tmp_path, broker, "check.nothing")
    async with ToldWorker(broker, "check.nothing") as worker:
        code, findings = await found(config, capsys)
        assert (code, findings["permission check.nothing"]["ok"]) == (0, True), findings
        await worker.send(worker.client.profile.queue("check.nothing"), {"mark": "1"}, b"", text=True)
        assert (await worker.request("check.nothing")).get("mark") == "1"  # the first that ever came


@pytest.mark.every_broker
async def test_the_echo_has_its_time_there_and_back(broker, tmp_path, capsys):
    _, findings = await found(write(tmp_path, broker, "check.echo"), capsys)
    assert findings["replies"]["detail"].endswith("ms there and back")


async def test_a_store_that_is_not_there_yet_is_told_and_not_made(tmp_path, capsys):
    async with FakeBroker() as broker:
        code, findings = await found(write(tmp_path, broker, "q"), capsys)
    assert (code, findings["store"]["ok"]) == (0, True), findings
    assert "made at the first start" in findings["store"]["detail"]
    assert not (tmp_path / "jobs.db").exists()


async def test_a_store_that_answers_is_left_as_it_is(tmp_path, capsys):
    store = SqlStore(f"sqlite:///{tmp_path}/jobs.db")
    await store.open()
    await store.close()
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as database:
        before = list(database.iterdump())
        async with FakeBroker() as broker:
            _, findings = await found(write(tmp_path, broker, "q"), capsys)
        assert (findings["store"]["ok"], findings["store"]["detail"]) == (True, "it answers")
        assert list(database.iterdump()) == before


@pytest.mark.parametrize(
    ("revision", "ok", "said"),
    [("0001", True, "upgraded at the next start"), ("9999", False, "newer version"), (None, True, "tables are made")],
)
async def test_tables_of_another_version_are_told_and_not_changed(tmp_path, capsys, revision, ok, said):
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as database:
        if revision:
            database.execute("CREATE TABLE alembic_version (version_num)")
            database.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
            database.commit()
        before = list(database.iterdump())
        async with FakeBroker() as broker:
            code, findings = await found(write(tmp_path, broker, "q"), capsys)
        assert list(database.iterdump()) == before
    assert (code, findings["store"]["ok"]) == (1 - ok, ok)
    assert said in findings["store"]["detail"]


async def test_a_store_that_cannot_be_made_is_a_fault_with_what_to_do(tmp_path, capsys):
    async with FakeBroker() as broker:
        code, findings = await found(write(tmp_path, broker, "q", store="sqlite:////dev/null/jobs.db"), capsys)
    assert (code, findings["store"]["ok"]) == (1, False), findings
    assert "[store] url" in findings["store"]["advice"]


async def test_a_bridge_without_jobs_needs_no_store(tmp_path, capsys):
    async with FakeBroker() as broker:
        config = write(tmp_path, broker, "q", more=HELD, store="sqlite:////dev/null/jobs.db")
        code, findings = await found(config, capsys)
    assert (code, findings["store"]["ok"]) == (0, True), findings


async def test_people_see_a_tick_or_a_cross_and_what_to_do(tmp_path, capsys):
    async with FakeBroker() as broker:
        config = write(tmp_path, broker, "q", store="sqlite:////dev/null/jobs.db")
        assert await check(config, as_json=False) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("✓ broker: ") for line in lines)
    cross = next(at for at, line in enumerate(lines) if line.startswith("✗ store: "))
    assert lines[cross + 1].startswith("  → is it running")
