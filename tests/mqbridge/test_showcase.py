"""The demo's scenes with jobs, before bridges that do not keep the contract."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Iterator

import httpx
import pytest
from rich.console import Console

from mqbridge.commands.job_scenes import JOB_SCENES, cancelled, fetched_later, followed, not_done_twice
from mqbridge.commands.stage import Stage, curl

Act = Callable[[Stage], Awaitable[None]]
PLACE = {"location": "/jobs/1", "correlation-id": "1"}
ACCEPTED = httpx.Response(202, headers=PLACE)


async def played(act: Act, answers: list[httpx.Response]) -> tuple[bool, str]:
    """Whether the scene was as expected before a bridge that answers so, in this order; and what was printed."""
    coming: Iterator[httpx.Response] = iter(answers)
    printed = io.StringIO()
    transport = httpx.MockTransport(lambda _: next(coming))
    async with httpx.AsyncClient(transport=transport, base_url="http://bridge") as client:
        stage = Stage(Console(file=printed, width=200), client, "http://bridge", [])
        return await stage.play(act), printed.getvalue()


def events(*lines: str) -> httpx.Response:
    headers = {"content-type": "text/event-stream"}
    return httpx.Response(200, headers=headers, content="".join(f"{line}\n" for line in lines))


def keyed(finished: str, correlation: str = "1", **headers: str) -> httpx.Response:
    return httpx.Response(200, json={"finished": finished}, headers={"correlation-id": correlation, **headers})


REPLAYED = {"idempotency-replayed": "true"}


async def test_scenes_are_good_before_a_bridge_that_keeps_the_contract() -> None:
    done = httpx.Response(200, json={"items": 4}, headers={"job-state": "done"})
    progress = [f'id: {at}\nevent: progress\ndata: {{"done": {at}}}\n' for at in (1, 2)]
    assert (await played(fetched_later, [ACCEPTED, done]))[0]
    assert (await played(followed, [ACCEPTED, events(*progress, "id: 3\nevent: done\ndata: {}\n")]))[0]
    assert (await played(not_done_twice, [keyed("a"), keyed("a", **REPLAYED)]))[0]


@pytest.mark.parametrize(
    ("act", "answers", "said"),
    [
        *((act, [httpx.Response(503, text="x")], "not 503") for _, act in JOB_SCENES),
        (fetched_later, [ACCEPTED, ACCEPTED], "expected 200, not 202"),
        (fetched_later, [ACCEPTED, httpx.Response(200, json={"items": 3})], "not so"),
        (followed, [ACCEPTED, httpx.Response(204)], "not 204"),
        (followed, [ACCEPTED, events("id: 1\nevent: done\ndata: {}\n")], "not so"),
        (cancelled, [ACCEPTED, events("event: progress\ndata: {}\n"), httpx.Response(409)], "expected 204"),
        (not_done_twice, [keyed("a"), keyed("a")], "Idempotency-Replayed"),
        (not_done_twice, [keyed("a"), keyed("a", "2", **REPLAYED)], "Correlation-Id"),
        (not_done_twice, [keyed("a"), keyed("b", **REPLAYED)], "done once"),
    ],
)
async def test_a_scene_is_not_as_expected(act: Act, answers: list[httpx.Response], said: str) -> None:
    good, printed = await played(act, answers)
    assert not good
    assert "✗" in printed
    assert said in printed


def test_a_command_is_quoted_for_the_shell() -> None:
    command = curl("GET", "http://bridge/it's", [("Prefer", "wait=1")], "-i")
    assert command == """curl -sS -H 'Prefer: wait=1' -i 'http://bridge/it'"'"'s'"""
