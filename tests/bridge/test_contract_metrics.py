"""`/-/metrics` as Prometheus sees it: names, labels, and that what happened is what is counted."""

from __future__ import annotations

import asyncio
import re
from hashlib import sha256
from pathlib import Path

import pytest
import pytest_asyncio
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from activemq.testing import FakeBroker
from bridge.figures import BOUNDS
from bridge.problems import TABLE
from bridge.settings import Admin, Caller, Route
from tests.bridge.callers import Caller as Connection
from tests.bridge.callers import request, until
from tests.bridge.harness import NO_STORE, ToldWorker, running, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY, SHOP = "key of the operator", "key of the shop"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def digest(key):
    return sha256(key.encode()).hexdigest()


class World:
    def __init__(self, bridge, worker):
        self.bridge, self.worker = bridge, worker

    async def scrape(self, accept="text/plain"):
        headers = (("Authorization", f"Bearer {KEY}"), ("Accept", accept))
        return await self.bridge.call("/-/metrics", None, method="GET", headers=headers)

    async def samples(self):
        """All samples: (name, labels as a sorted tuple) → value."""
        text = (await self.scrape()).body.decode()
        found = {}
        for family in parse_text(text):
            for sample in family.samples:
                found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
        return found

    async def calls(self, route, outcome):
        return (await self.samples()).get(("mqbridge_calls_total", (("outcome", outcome), ("route", route))), 0)

    async def call(self, target="/words", *headers, **options):
        return await self.bridge.call(target, headers=(("Authorization", f"Bearer {SHOP}"), *headers), **options)

    async def answered(self, *headers, **properties):
        calling = asyncio.create_task(self.call("/words", *headers))
        await self.worker.reply(await self.worker.request("words"), **properties)
        return await calling


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(implementation):
    route = Route(name="words", path="/words", queue="words", async_="never", idempotency="off", max_held=7)
    async with FakeBroker() as broker, ToldWorker(broker, "words") as worker:
        changes = {
            "admin": Admin(key_sha256=digest(KEY)),
            "callers": (Caller(name="shop", key_sha256=digest(SHOP), routes=("words",)),),
        }
        settings = settings_for(broker, [route], store=NO_STORE).model_copy(update=changes)
        async with running(settings, implementation) as bridge:
            yield World(bridge, worker)


async def test_metrics_need_the_admin_key(world):
    for headers in ((), (("Authorization", f"Bearer {SHOP}"),)):
        response = await world.bridge.call("/-/metrics", None, method="GET", headers=headers)
        assert (response.status, response.name) == (401, "unauthenticated")


async def test_the_text_is_prometheus_and_openmetrics_for_those_who_ask(world):
    text, metrics = await world.scrape(), await world.scrape(OPENMETRICS)
    assert text.get("content-type").startswith("text/plain; version=")
    assert metrics.get("content-type").startswith("application/openmetrics-text; version=")
    assert list(parse_text(text.body.decode()))
    assert metrics.body.decode().endswith("# EOF\n")
    assert list(parse_openmetrics(metrics.body.decode()))


@pytest.mark.parametrize(("status", "outcome"), [("200", "2xx"), ("304", "3xx"), ("404", "4xx"), ("503", "5xx")])
async def test_a_workers_answer_is_counted_by_its_class(world, status, outcome):
    before = await world.calls("words", outcome)
    assert (await world.answered(http_status=status)).status == int(status)
    assert await world.calls("words", outcome) == before + 1


async def test_a_problem_is_counted_by_its_name(world):
    before = await world.calls("words", "bad-reply")
    assert (await world.answered(http_status="999")).status == 502
    assert await world.calls("words", "bad-reply") == before + 1


async def test_what_is_for_no_route_has_an_empty_label_however_many_paths_are_made_up(world):
    before = await world.calls("", "no-route")
    for number in range(20):
        await world.call(f"/made-up-{number}")
    assert await world.calls("", "no-route") == before + 20
    assert "made-up" not in (await world.scrape()).body.decode()


async def test_a_caller_who_leaves_is_counted(world):
    before = await world.calls("words", "caller-gone")
    async with await Connection.connect(world.bridge.port) as caller:
        await caller.send(request("/words", headers=(("Authorization", f"Bearer {SHOP}"),)))
        await world.worker.request("words")
    await world.bridge.at_rest()
    assert await world.calls("words", "caller-gone") == before + 1


async def test_durations_are_counted_where_they_are_told(world):
    route = (("route", "words"),)
    before = await world.samples()
    await world.answered(queue_ms="20", work_ms="1500")
    after = await world.samples()

    def rise(name, *labels):
        key = (name, tuple(sorted((*route, *labels))))
        return after[key] - before[key]

    assert rise("mqbridge_call_duration_seconds_count") == 1
    assert rise("mqbridge_queue_duration_seconds_sum") == pytest.approx(0.02)
    assert rise("mqbridge_work_duration_seconds_bucket", ("le", "1.0")) == 0
    assert rise("mqbridge_work_duration_seconds_bucket", ("le", "2.5")) == 1
    assert rise("mqbridge_work_duration_seconds_bucket", ("le", "+Inf")) == 1


async def test_what_is_held_now_is_told(world):
    calling = asyncio.create_task(world.call())
    message = await world.worker.request("words")
    samples = await world.samples()
    assert samples["mqbridge_route_held", (("route", "words"),)] == 1
    assert samples["mqbridge_route_max_held", (("route", "words"),)] == 7
    assert samples["mqbridge_backlog_messages", (("queue", "words"),)] == 1
    assert samples["mqbridge_listeners", (("queue", "words"),)] == 1
    assert samples["mqbridge_caller_held", (("caller", "shop"),)] == 1
    assert samples["mqbridge_oldest_call_age_seconds", (("route", "words"),)] > 0
    assert samples["mqbridge_broker_connected", ()] == 1
    await world.worker.reply(message)
    await calling
    await world.bridge.at_rest()
    samples = await world.samples()
    assert samples["mqbridge_route_held", (("route", "words"),)] == 0
    assert samples["mqbridge_caller_held", (("caller", "shop"),)] == 0


async def test_a_trace_that_its_caller_samples_is_an_exemplar(world):
    sampled, not_sampled = "a" * 32, "b" * 32
    await world.answered(("traceparent", f"00-{sampled}-{'1' * 16}-01"))
    await world.answered(("traceparent", f"00-{not_sampled}-{'1' * 16}-00"))
    text = (await world.scrape(OPENMETRICS)).body.decode()
    found = {
        sample.exemplar.labels["trace_id"]
        for family in parse_openmetrics(text)
        for sample in family.samples
        if sample.exemplar
    }
    assert sampled in found
    assert not_sampled not in found


async def test_labels_hold_nothing_but_names_of_the_settings_and_of_the_contract(world):
    allowed = {"2xx", "3xx", "4xx", "5xx", "caller-gone", *TABLE}
    for name, labels in await world.samples():
        values = dict(labels)
        if name.startswith("mqbridge_"):
            assert values.get("outcome", "2xx") in allowed
            assert values.get("route", "") in ("", "words")
            assert values.get("caller", "shop") == "shop"


async def odd(world, number):
    """All that callers and workers can make up, another one each time."""
    await world.call(f"/made-up-{number}")
    await world.bridge.call("/words", method=f"M{number}")
    await world.bridge.call("/words", headers=(("Authorization", f"Bearer {number}"),))
    trace = ("traceparent", f"00-{number + 1:032x}-{'1' * 16}-01")
    await world.answered(trace, http_status=str(200 + number), worker=f"worker-{number}", queue_ms=str(number))
    await world.answered(problem=f"made-up-{number}")


async def test_the_number_of_series_is_bounded_by_the_settings(world):
    for number in (1, 2):
        await odd(world, number)
    before = set(await world.samples())
    for number in range(3, 9):
        await odd(world, number)
    assert set(await world.samples()) == before
    text = (await world.scrape(OPENMETRICS)).body.decode()
    exemplars = [s.exemplar for family in parse_openmetrics(text) for s in family.samples if s.exemplar]
    assert 0 < len(exemplars) <= len(BOUNDS) + 1  # the last one of each bucket


async def test_a_bridge_without_its_broker_says_so(implementation):
    async with FakeBroker() as broker:
        route = Route(name="words", path="/words", queue="words")
        settings = settings_for(broker, [route], store=NO_STORE)
        settings = settings.model_copy(update={"admin": Admin(key_sha256=digest(KEY))})
        async with running(settings, implementation) as bridge:
            await broker.stop()
            await until(lambda: not bridge.bridge.client.connected)
            samples = await World(bridge, None).samples()
            assert samples["mqbridge_broker_connected", ()] == samples["mqbridge_ready", ()] == 0
            assert ("mqbridge_listeners", (("queue", "words"),)) not in samples


async def test_the_page_lists_every_metric_and_no_other(world):
    await world.answered()
    text = (await world.scrape()).body.decode()
    kinds = {family.name: family.type for family in parse_text(text) if family.name.startswith("mqbridge")}
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    rows = dict(re.findall(r"^\| `(mqbridge_\w+)` \| (\w+) \|", page, re.MULTILINE))
    documented = {name.removesuffix("_total"): kind for name, kind in rows.items()}
    assert (
        documented.pop("mqbridge_process_up") == "gauge"
    )  # of several processes: tests/mqbridge/test_many_processes.py
    assert documented == {name: "info" if name == "mqbridge_info" else kind for name, kind in kinds.items()}
