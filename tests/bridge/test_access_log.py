"""A line for each call that is over, and what never is in one."""

from __future__ import annotations

import asyncio
import logging

import pytest

from activemq.testing import FakeBroker
from bridge.figures.access_log import Line, fields_of, phase_of
from bridge.figures.ledger import Ended
from bridge.settings import Log, Route
from tests.bridge.harness import NO_STORE, ToldWorker, running, settings_for

ID = "8c1f0d4e2b7a4c55a0e6b1c2d3e4f506"


def ended(**changes):
    base = Ended(ID, "words", "shop", "POST", b"/words", 200, 5.0, 0.001, 0.0123, "2xx", "", 1.0, 7.25, 2)
    return base._replace(**changes)


def test_a_line_says_what_it_was_how_it_ended_and_how_long_it_took():
    assert str(Line(ended())) == f"POST /words 200 2xx 12.3ms queue=1.0ms work=7.2ms attempt=2 caller=shop {ID}"


def test_what_is_not_known_is_left_out():
    line = Line(ended(status=0, outcome="caller-gone", queue_ms=None, work_ms=None, attempt=0, caller=""))
    assert str(line) == f"POST /words - caller-gone 12.3ms phase=sent {ID}"
    assert set(fields_of(ended(status=0, caller="", detail="", queue_ms=None))) == {
        "method", "path", "outcome", "phase", "duration_ms", "work_ms", "route", "attempt", "correlation_id",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "phase"),
    [
        ({}, "answered"),
        ({"outcome": "5xx"}, "answered"),
        ({"outcome": "worker-failed"}, "answered"),
        ({"outcome": "2xx", "sent": None}, "answered"),  # recorded, for a key
        ({"outcome": "no-worker", "sent": None, "attempt": 0}, "refused"),
        ({"outcome": "deadline", "attempt": 0}, "sent"),
        ({"outcome": "deadline", "attempt": 1}, "running"),
        ({"outcome": "caller-gone", "attempt": 3}, "running"),
        ({"outcome": "broker-lost", "attempt": 0}, "sent"),
    ],
)
def test_the_phase_says_how_far_it_had_come(changes, phase):
    assert phase_of(ended(**changes)) == phase
    assert fields_of(ended(**changes))["phase"] == phase
    assert (f"phase={phase}" in str(Line(ended(**changes)))) == (phase != "answered")


@pytest.mark.parametrize("path", [b"/a\nINFO forged", b"/\xe4", b"/a\x1b[31m", b"/a\\x0a"])
def test_a_path_cannot_forge_a_line(path):
    for text in (str(Line(ended(path=path))), fields_of(ended(path=path))["path"]):
        assert text.isascii()
        assert text.isprintable()


async def lines_of(access, caplog):
    """Make an answered call and one that no worker takes; return the messages."""
    route = Route(name="words", path="/words", queue="words", async_="never", idempotency="off")
    lonely = Route(name="lonely", path="/lonely", queue="lonely", async_="never", idempotency="off")
    async with FakeBroker() as broker, ToldWorker(broker, "words") as worker:
        settings = settings_for(broker, [route, lonely], store=NO_STORE)
        settings = settings.model_copy(update={"log": Log(access=access)})
        async with running(settings, "hypercorn") as bridge:
            with caplog.at_level(logging.INFO, logger="bridge.access"):
                calling = asyncio.create_task(bridge.call("/words?secret=1", b"body", headers=(("X-Secret", "2"),)))
                await worker.reply(await worker.request("words"), b"answer")
                await calling
                await bridge.call("/lonely")
                await bridge.at_rest()
    return [record for record in caplog.records if record.name == "bridge.access"]


@pytest.mark.parametrize(
    ("access", "outcomes"), [("all", ["2xx", "no-worker"]), ("problems", ["no-worker"]), ("none", [])]
)
async def test_the_settings_say_which_calls_have_one(access, outcomes, caplog):
    records = await lines_of(access, caplog)
    assert [record.outcome for record in records] == outcomes
    for record in records:
        assert record.correlation_id in record.getMessage()
        for secret in ("secret", "body", "answer"):
            assert secret not in record.getMessage()
