"""The dashboard and the alert rules: Prometheus itself takes them, and all that they name is there."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from prometheus_client.parser import text_string_to_metric_families as parse_text

from activemq.testing import FakeBroker
from bridge.problems import TABLE
from bridge.settings import Admin, Caller, Route
from tests.bridge.harness import NO_STORE, ToldWorker, running, settings_for
from tests.prometheus import Prometheus, promtool

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy/grafana/mqbridge.json").read_text())
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
KEY, SHOP = "key of the operator", "key of the shop"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OF_PROMETHEUS = {"job", "instance"}  # labels that it adds to all it scrapes
# The bridge's fault or the worker's: what an operator wants to hear of.
FAILED = {name for name, row in TABLE.items() if row.status >= 500} - {"draining"} | {"5xx"}


def panels() -> Iterator[dict[str, Any]]:
    for panel in DASHBOARD["panels"]:
        if panel["type"] != "row":
            yield panel


EXPRESSIONS = [(panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]]
ALL_EXPRESSIONS = [*EXPRESSIONS, *((rule["alert"], rule["expr"]) for rule in RULES)]


class World:
    """A bridge that has served some calls, and what it exposes."""

    def __init__(self, bridge: Any, worker: ToldWorker, prometheus: Prometheus) -> None:
        self.bridge, self.worker, self.prometheus = bridge, worker, prometheus

    async def text(self) -> str:
        headers = (("Authorization", f"Bearer {KEY}"),)
        return (await self.bridge.call("/-/metrics", None, method="GET", headers=headers)).body.decode()

    async def labels(self) -> dict[str, set[str]]:
        """What labels each sample has, by its name."""
        found: dict[str, set[str]] = {}
        for family in parse_text(await self.text()):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
        return found

    async def serve(self, *headers: tuple[str, str], **properties: str) -> None:
        every = (("Authorization", f"Bearer {SHOP}"), *headers)
        calling = asyncio.create_task(self.bridge.call("/words", headers=every))
        await self.worker.reply(await self.worker.request("words"), **properties)
        await calling

    async def busy(self) -> None:
        """Serve calls of which the figures tell all that there is to tell: one answered, one that fails."""
        await self.serve(("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"), queue_ms="20", work_ms="40")
        await self.serve(http_status="999")

    async def has_data(self, expression: str) -> bool:
        return any(not math.isnan(value) for _, value in await self.prometheus.query(as_grafana_sends(expression)))


def as_grafana_sends(expression: str) -> str:
    for name, value in (("$__rate_interval", "1m"), ("$job", "mqbridge"), ("$instance", ".*"), ("$route", ".*")):
        expression = expression.replace(name, value)
    return expression


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    route = Route(name="words", path="/words", queue="words", async_="never", idempotency="off")
    async with FakeBroker() as broker, ToldWorker(broker, "words") as worker:
        changes = {
            "admin": Admin(key_sha256=sha256(KEY.encode()).hexdigest()),
            "callers": (
                Caller(name="shop", key_sha256=sha256(SHOP.encode()).hexdigest(), routes=("words",), rate="9999/s"),
            ),
        }
        settings = settings_for(broker, [route], store=NO_STORE).model_copy(update=changes)
        async with (
            running(settings, "hypercorn") as bridge,
            Prometheus(tmp_path_factory.mktemp("prometheus"), f"127.0.0.1:{bridge.port}", KEY) as prometheus,
        ):
            world = World(bridge, worker, prometheus)
            await world.busy()
            yield world


async def test_promtool_has_nothing_to_say_about_names_and_units(world: World) -> None:
    assert promtool("check", "metrics", given=await world.text()) == ""


async def test_prometheus_takes_the_scrape_configuration(world: World, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(KEY)
    text = (ALERTS.parent / "prometheus.yml").read_text()
    assert "/etc/prometheus/mqbridge-admin-key" in text
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus/mqbridge-admin-key", str(key)))
    (tmp_path / "alerts.yml").write_text(ALERTS.read_text())
    promtool("check", "config", tmp_path / "prometheus.yml")


async def test_the_alert_rules_do_what_their_tests_say() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", ALERTS)
    promtool("test", "rules", Path(__file__).with_name("alerts_test.yml"))


async def test_each_alert_is_tested_both_ways() -> None:
    cases = yaml.safe_load(Path(__file__).with_name("alerts_test.yml").read_text())["tests"]
    told: dict[str, set[bool]] = {}
    for case in cases:
        for check in case["alert_rule_test"]:
            told.setdefault(check["alertname"], set()).add(bool(check.get("exp_alerts")))
    assert told == {rule["alert"]: {True, False} for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
async def test_an_alert_says_what_to_do_and_where_there_is_more(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert len(rule["annotations"]["description"].split()) > 5
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor == rule["alert"].lower()
    assert rule["alert"] in headings


@pytest.mark.parametrize(("title", "expression"), ALL_EXPRESSIONS, ids=[title for title, _ in ALL_EXPRESSIONS])
async def test_what_an_expression_names_is_exposed(world: World, title: str, expression: str) -> None:
    exposed = await world.labels()
    names = re.findall(r"\b((?:mqbridge|process|python)_\w+)(?:\{([^}]*)\})?", expression)
    assert names or expression.startswith("up{"), title
    known = {*OF_PROMETHEUS, "process"}
    for name, matchers in names:
        assert name in exposed, title
        wanted = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', matchers)))
        assert wanted <= exposed[name] | OF_PROMETHEUS, title
        known |= exposed[name]
    for group in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression):
        assert {label.strip() for label in group.split(",")} <= known, title


@pytest.mark.parametrize(
    "expression", [e for _, e in ALL_EXPRESSIONS if "5xx|" in e], ids=[t for t, e in ALL_EXPRESSIONS if "5xx|" in e]
)
async def test_what_counts_as_failed_is_what_the_contract_answers_with_5xx(expression: str) -> None:
    (listed,) = re.findall(r'outcome=~"([^"]*)"', expression)
    assert set(listed.split("|")) == FAILED
    assert FAILED - {"5xx"} <= set(TABLE)


async def test_every_panel_has_data_in_prometheus(world: World) -> None:
    missing = dict.fromkeys(EXPRESSIONS)
    async with asyncio.timeout(60):
        while missing:
            await world.busy()  # until a rate can be told of each
            for place in list(missing):
                if await world.has_data(place[1]):
                    del missing[place]


async def test_a_trace_comes_to_prometheus_as_an_exemplar(world: World) -> None:
    async with asyncio.timeout(30):
        while True:
            await world.busy()
            found = await world.prometheus.exemplars("mqbridge_call_duration_seconds_bucket")
            if found:
                break
            await asyncio.sleep(0.1)
    assert {exemplar["labels"]["trace_id"] for exemplar in found} == {TRACE}


async def test_the_dashboard_is_one_that_grafana_can_lay_out() -> None:
    assert (DASHBOARD["uid"], DASHBOARD["schemaVersion"]) == ("mqbridge", 39)
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


async def test_every_panel_has_a_unit_a_sentence_and_the_chosen_data_source() -> None:
    for panel in panels():
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in {"none", "s", "bytes", "reqps", "ops", "percentunit"}
        assert {panel["datasource"]["uid"], *(t["datasource"]["uid"] for t in panel["targets"])} == {"${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


async def test_the_variables_are_the_data_source_job_bridge_and_route_and_are_used() -> None:
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "instance", "route"]
    assert variables["instance"]["multi"]
    assert variables["route"]["multi"]
    for title, expression in EXPRESSIONS:
        for selector in re.findall(r"\{([^}]*)\}", expression):
            assert 'job=~"$job", instance=~"$instance"' in selector, title
    assert any("$route" in expression for _, expression in EXPRESSIONS)
