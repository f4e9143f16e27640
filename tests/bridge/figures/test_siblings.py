"""Figures of several processes: one exposition, whichever of them is scraped, and whoever does not answer."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from bridge.figures import siblings as module
from bridge.figures.siblings import Siblings
from bridge.figures.together import packed, together, unpacked
from tests.bridge.callers import until


def registry(calls):
    found = CollectorRegistry()
    Counter("calls", "Calls.", ["route"], registry=found).labels('a"\n').inc(calls)
    Histogram("took", "Seconds.", registry=found, buckets=(1.0, 2.0)).observe(1.5, {"trace_id": "a" * 32})
    return found


def all_of(metrics):
    return [(metric.name, metric.documentation, metric.type, metric.unit, metric.samples) for metric in metrics]


def test_what_is_packed_comes_out_as_it_was():
    metrics = list(registry(3).collect())
    for metric in metrics:
        metric.samples = [sample._replace(timestamp=None) for sample in metric.samples]
    assert all_of(unpacked(packed(metrics))) == all_of(metrics)


@pytest.mark.parametrize("cut", [1, 10, -1])
def test_what_is_cut_off_is_refused(cut):
    with pytest.raises(ValueError, match=r"."):
        unpacked(packed(registry(1).collect())[:cut])


def test_each_sample_has_the_number_of_its_process_and_who_does_not_tell_is_named():
    class Whole:
        def collect(self):
            return list(together({2: registry(5).collect(), 1: registry(3).collect(), 3: None}))

    families = {family.name: family for family in text_string_to_metric_families(generate_latest(Whole()).decode())}
    calls = {s.labels["process"]: s.value for s in families["calls"].samples if s.name == "calls_total"}
    assert calls == {"1": 3.0, "2": 5.0}
    up = {sample.labels["process"]: sample.value for sample in families["mqbridge_process_up"].samples}
    assert up == {"1": 1.0, "2": 1.0, "3": 0.0}
    exemplars = [sample.exemplar.labels for sample in families["took"].samples if sample.exemplar]
    assert exemplars == [{"trace_id": "a" * 32}] * 2


async def test_each_is_told_by_the_others_also_after_one_was_killed(tmp_path):
    one, two = (Siblings(tmp_path, number, 3, f"of {number}".encode) for number in (1, 2))
    await one.start()
    await two.start()
    try:
        assert await one.ask() == {2: b"of 2", 3: None}
        assert await two.ask() == {1: b"of 1", 3: None}
        two._server.close()  # its socket stays, as that of one that was killed
        assert await one.ask() == {2: None, 3: None}
        again = Siblings(tmp_path, 2, 3, b"again".strip)
        await again.start()
        assert await one.ask() == {2: b"again", 3: None}
        await again.stop()
    finally:
        await one.stop()
        await two.stop()
    assert not list(tmp_path.iterdir())


async def test_one_that_hangs_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    asked, leave = asyncio.Event(), asyncio.Event()

    async def hang(_, writer):
        asked.set()
        await leave.wait()
        writer.close()

    server = await asyncio.start_unix_server(hang, tmp_path / "2.sock")
    one = Siblings(tmp_path, 1, 2, bytes)
    assert await one.ask() == {2: None}
    assert asked.is_set()
    leave.set()
    server.close()


async def test_a_folder_that_is_gone_keeps_no_process_from_serving(tmp_path, caplog):
    one = Siblings(tmp_path / "gone", 1, 2, bytes)
    await one.start()
    assert "cannot ask this one" in caplog.text
    assert await one.ask() == {2: None}
    await one.stop()


async def test_who_hangs_up_while_it_is_told_harms_nobody(tmp_path):
    one = Siblings(tmp_path, 1, 2, lambda: b"x" * 4_000_000)
    two = Siblings(tmp_path, 2, 2, bytes)
    await one.start()
    _, writer = await asyncio.open_unix_connection(tmp_path / "1.sock")
    writer.transport.abort()
    await until(writer.transport.is_closing)
    assert len((await two.ask())[1]) == 4_000_000
    await one.stop()
