"""`mqbridge bench`: what it counts, and that it counts right."""

from __future__ import annotations

import json

import pytest

from mqbridge.commands.bench import percentile
from tests.databases import free_port
from tests.mqbridge.inprocess import demo, run


async def test_each_call_is_counted_by_how_it_ended(broker, tmp_path):
    async with demo(broker, tmp_path) as served:
        ran = await served.run("bench", "/texts", "a b", "-n", 40, "-c", 4, "--json")
        report = json.loads(ran.out)
        assert (ran.code, report["all"]["calls"], report["concurrency"]) == (0, 40, 4)
        (row,) = report["outcomes"]
        assert (row["outcome"], row["calls"]) == ("200", 40)
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"] <= row["max_ms"]
        assert report["calls_per_second"] > 0
        texts = next(route for route in served.bridge.bridge.router.routes if route.settings.name == "texts")
        assert texts.counts.answered == 40


async def test_what_is_no_success_is_exit_code_1_and_named(broker, tmp_path):
    async with demo(broker, tmp_path) as served:
        ran = await served.run("bench", "/flaky", "x", "-n", 3, "-c", 2)
        assert ran.code == 1
        assert ran.out.splitlines()[1].split()[:3] == ["502", "worker-failed", "3"]
        assert "3 calls in " in ran.out


async def test_it_ends_with_its_time(broker, tmp_path):
    async with demo(broker, tmp_path) as served:
        ran = await served.run("bench", "/texts", "x", "--duration", 0.3, "-c", 2, "--json")
        report = json.loads(ran.out)
        assert (ran.code, report["seconds"] >= 0.3, report["all"]["calls"] > 0) == (0, True, True)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["/r", "--url", f"http://127.0.0.1:{free_port()}"], 1, "is it running"),
        (["/r", "--url", "ftp://x"], 2, "ftp://x"),
        (["/r", "-n", "1", "--duration", "1"], 2, "either --requests or --duration"),
        (["/r", "-c", "0"], 2, "--concurrency"),
    ],
)
def test_what_cannot_be_measured_is_said(arguments, code, said):
    ran = run("bench", *arguments)
    assert (ran.code, said in ran.err) == (code, True), ran


@pytest.mark.parametrize(
    ("values", "percent", "found"),
    [
        ([7.0], 50, 7.0),
        ([7.0], 99, 7.0),
        ([1.0, 2.0], 50, 1.0),
        ([1.0, 2.0, 3.0], 50, 2.0),
        ([float(n) for n in range(1, 101)], 95, 95.0),
        ([float(n) for n in range(1, 101)], 99, 99.0),
        ([float(n) for n in range(1, 102)], 99, 100.0),
    ],
)
def test_percentiles_are_by_nearest_rank(values, percent, found):
    assert percentile(values, percent) == found
