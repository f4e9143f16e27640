"""The log of a bridge as a process: a line for each call, in either form, at the level asked for, without secrets."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal

import httpx
import pytest

from activemq.testing import FakeBroker
from tests.bridge.harness import ToldWorker

KEY, PASSCODE, ADMIN = "mqb_secret-of-the-shop", "secret-passcode", "secret-of-the-operator"
SECRETS = (KEY, PASSCODE, ADMIN, "secret-body", "secret-query", "secret-header", "secret-answer", "secret-key")
SETTINGS = """
[server]
bind = ["127.0.0.1:0"]
[broker]
urls = ["{url}"]
login = "bridge"
[admin]
key_sha256 = "{admin}"
[log]
access = "all"
{log}
[[caller]]
name = "shop"
key_sha256 = "{key}"
routes = ["words", "lonely"]
[[route]]
name = "words"
path = "/words"
queue = "words"
[[route]]
name = "lonely"
path = "/lonely"
queue = "lonely"
"""


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def serve_three_calls(start, folder, log: str, *options: str):
    """Have a bridge answer a call, refuse one, and answer one with a key; return its output and the answers' ids."""
    async with FakeBroker() as broker, ToldWorker(broker, "words") as worker:
        (folder / "bridge.toml").write_text(
            SETTINGS.format(url=broker.url, admin=sha256(ADMIN), key=sha256(KEY), log=log)
        )
        environ = {"MQBRIDGE_BROKER__PASSCODE": PASSCODE}
        bridge = start("serve", "--config", "bridge.toml", *options, environ=environ)
        url = (await asyncio.to_thread(bridge.wait_for, "ready on http://")).split()[-1]
        headers = {"authorization": f"Bearer {KEY}", "x-other": "secret-header"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:

            async def answered(**more):
                calling = asyncio.create_task(client.post("/words?q=secret-query", content="secret-body", headers=more))
                await worker.reply(await worker.request("words"), b"secret-answer", queue_ms="1.5", work_ms="2.5")
                return await calling

            answers = [
                await answered(),
                await client.post("/lonely", content="secret-body"),
                await answered(**{"Idempotency-Key": "secret-key"}),
            ]
            await client.get("/-/api/status", headers={"authorization": f"Bearer {ADMIN}"})
        bridge.signal(signal.SIGTERM)
        assert await asyncio.to_thread(bridge.exit_code) == 0, bridge.output
    assert [answer.status_code for answer in answers] == [200, 503, 200]
    return bridge.output, [answer.headers["correlation-id"] for answer in answers]


async def test_a_json_line_for_each_call_says_all_of_it(start, tmp_path):
    output, ids = await serve_three_calls(start, tmp_path, 'format = "json"')
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    calls = [line for line in lines if line["logger"] == "bridge.access"]
    assert [line["correlation_id"] for line in calls] == ids
    assert [line["outcome"] for line in calls] == ["2xx", "no-worker", "2xx"]
    assert [line["phase"] for line in calls] == ["answered", "refused", "answered"]
    assert [line["status"] for line in calls] == [200, 503, 200]
    assert {line["caller"] for line in calls} == {"shop"}
    answered, refused, again = (line["duration_ms"] for line in calls)
    assert answered > 0 <= refused  # uvloop has whole milliseconds, and a refusal takes less than one
    assert again > 0
    assert (calls[0]["queue_ms"], calls[0]["work_ms"], calls[0]["path"]) == (1.5, 2.5, "/words")
    assert {"time", "level", "pid", "message"} <= set(calls[0])
    for one in lines:
        assert "\n" not in one["message"]


async def test_a_console_line_for_each_call_says_it_for_people(start, tmp_path):
    output, ids = await serve_three_calls(start, tmp_path, "")
    calls = [line for line in output.splitlines() if " INFO bridge.access: " in line]
    assert len(calls) == 3
    for line, correlation_id in zip(calls, ids, strict=True):
        assert line.endswith(f" caller=shop {correlation_id}")
    assert "POST /lonely 503 no-worker" in calls[1]
    assert "phase=refused" in calls[1]


@pytest.mark.parametrize(
    ("log", "options", "seen"),
    [
        ('level = "warning"', (), False),
        ('level = "warning"', ("--log-level", "info"), True),
        ('level = "info"', ("--log-level", "error"), False),
    ],
)
async def test_the_level_is_the_settings_and_the_commands_goes_before_it(start, tmp_path, log, options, seen):
    output, _ = await serve_three_calls(start, tmp_path, log, *options)
    assert ("bridge.access" in output) == seen


@pytest.mark.parametrize("form", ["console", "json"])
async def test_at_no_level_is_there_a_secret_or_a_body(start, tmp_path, form):
    output, _ = await serve_three_calls(start, tmp_path, f'format = "{form}"', "--log-level", "debug")
    assert "bridge.access" in output
    assert [secret for secret in SECRETS if secret in output] == []
