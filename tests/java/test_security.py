"""What the embedded broker lets a Java program do, by OpenWire, with a worker's login."""

from __future__ import annotations

import json

import pytest

from activemq.embedded import Login, Role
from bridge.settings import Route
from tests.bridge.harness import running, settings_for
from tests.java.programs import environment_of, on_both

WORKER = Login("java", "a worker's passcode", frozenset({Role.WORKER}))
AS_WORKER = {"BROKER_LOGIN": WORKER.name, "BROKER_PASSCODE": WORKER.passcode}


async def _words(bridge):
    response = await bridge.call("/words", b"to be")
    return response.status, json.loads(response.body)


@on_both
async def test_a_workers_login_is_enough_to_work_and_no_more(java, own_broker, programs):
    broker = await own_broker(other_logins=[WORKER], worker_queues=["words"])
    routes = [Route(name="words", path="/words", queue="words", timeout=20.0)]
    await programs(broker, "plain-jms", **AS_WORKER)
    async with running(settings_for(broker, routes), "hypercorn") as bridge:
        assert await _words(bridge) == (200, {"words": 2})
        job = await bridge.call("/words", b"to be", headers=(("Prefer", "respond-async, wait=15"),))
        assert (job.status, json.loads(job.body)) == (200, {"words": 2})
    for forbidden in ("other", "bridge.replies.0", "words.other", "words.poison"):  # the last: what workers park
        taking = await programs(broker, "probe", "take", forbidden, says=None, **AS_WORKER)
        assert await taking.end() == 1
        assert "JMSSecurityException" in taking.output
    asking = await programs(broker, "probe", "ask", "words", "text", says=None, **AS_WORKER)
    if broker.kind == "classic":
        assert await asking.end() == 0
        assert asking.lines[-1].startswith('text: {"kind": "text"')
    else:  # a temporary queue's name has no common beginning there, so the right would be one to all names
        assert await asking.end() == 1
        assert "CREATE_NON_DURABLE_QUEUE" in asking.output


@on_both
@pytest.mark.parametrize("who", [{"BROKER_PASSCODE": "wrong"}, {"BROKER_LOGIN": "nobody"}, {"BROKER_PASSCODE": ""}])
async def test_no_login_no_connection(java, broker, programs, who):
    program = await programs(broker, "plain-jms", says=None, **who)
    assert await program.end() == 1
    assert "JMSSecurityException" in program.output
    assert environment_of(broker)["BROKER_PASSCODE"] not in program.output
