"""The whole story as processes: a worker that is killed by its message, and an operator who puts it right."""

from __future__ import annotations

import json
import secrets

import httpx
import pytest

from tests.bridge.callers import until

from .test_processes import start_bridge

DEADLY = """
import os
from consumers import Worker
worker = Worker("deadly")
@worker.handler("{queue}")
async def deadly(body: bytes) -> str:
    os._exit(9)
"""
CURED = """
from consumers import Worker
worker = Worker("cured")
@worker.handler("{queue}")
async def cured(body: bytes) -> bytes:
    return body[::-1]
"""


async def test_a_call_that_kills_its_workers_is_parked_and_replayed_once_they_are_cured(
    start, broker, access, tmp_path
):
    queue = f"cli.{secrets.token_hex(4)}"
    for name, source in (("deadly", DEADLY), ("cured", CURED)):
        (tmp_path / f"{name}.py").write_text(source.format(queue=queue))
    bridge, url = start_bridge(start, broker, tmp_path, queue)
    key = {"MQBRIDGE_ADMIN_KEY": bridge.wait_for("mqbridge: admin key ").split()[-1]}

    def operate(*arguments: str) -> str:
        command = start("dlq", *arguments, "--url", url, environ=key)
        assert command.exit_code() == 0, command.output
        return command.output

    async with httpx.AsyncClient(base_url=url, timeout=60) as caller:
        workers = [start("work", "deadly:worker", *access) for _ in range(4)]  # max_attempts is 3
        for worker in workers:
            worker.wait_for("worker ready")
        answer = await caller.post("/hello", content=b"\x00evil\xff")
        assert (answer.status_code, answer.json()["type"], answer.json()["attempts"]) == (502, "/problems/poisoned", 3)
        await until(lambda: sum(worker.process.poll() == 9 for worker in workers) == 3, "three workers have died of it")

        listed = json.loads(operate("list", "--queue", f"{queue}.poison", "--json"))
        (letter,) = listed["letters"]
        assert (letter["attempts"], letter["size"], letter["route"]) == (3, 6, "hello")
        assert "00 65 76 69 6c ff" in operate("show", letter["id"], "--body-to", "saved.bin")
        assert (tmp_path / "saved.bin").read_bytes() == b"\x00evil\xff"
        refused = start("dlq", "drop", letter["id"], "--url", url, environ=key)
        assert (refused.exit_code(), "--yes" in refused.output) == (2, True)

        next(worker for worker in workers if worker.process.poll() is None).close()
        start("work", "cured:worker", *access).wait_for("worker ready")
        location = next(line for line in operate("replay", letter["id"]).splitlines() if letter["id"] in line).split()[
            1
        ]
        result = await caller.get(f"{location}/result", headers={"Prefer": "wait=15"})
        assert (result.status_code, result.content) == (200, b"\xfflive\x00")
        assert json.loads(operate("list", "--queue", f"{queue}.poison", "--json"))["letters"] == []
        again = start("dlq", "show", letter["id"], "--url", url, environ=key)
        assert (again.exit_code(), "no-dead-letter" in again.output) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay",), ("drop",), ("replay", "--all"), ("drop", "--all"), ("replay", "--queue", "q.poison"),
        ("replay", "x~y", "--all", "--queue", "q.poison"), ("list", "--limit", "0"), ("show",), ("nothing",),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_before_anybody_is_asked(start, arguments):
    command = start("dlq", *arguments, "--url", "http://127.0.0.1:1", environ={"MQBRIDGE_ADMIN_KEY": "key"})
    assert command.exit_code() == 2, command.output


def test_without_a_key_it_says_where_to_get_one(start):
    command = start("dlq", "list", environ={"MQBRIDGE_ADMIN_KEY": ""})
    assert command.exit_code() == 2
    assert "MQBRIDGE_ADMIN_KEY" in command.output
