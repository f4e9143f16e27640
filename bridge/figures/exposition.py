"""The figures for Prometheus: made when it asks, so that a call pays for its counts only.

Names and units follow Prometheus's conventions. Labels: routes, queues and callers of the settings, and outcomes, of
which there are as many as problems in the contract; nothing that a caller could make up.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.samples import Exemplar

from bridge.figures.histogram import BOUNDS
from bridge.figures.together import packed, together, unpacked
from bridge.presence import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from bridge.figures.histogram import Histogram
    from bridge.figures.snapshot import Snapshot

    Rendered = tuple[bytes, str]

_UNROUTED: Final = ""  # the label of calls for no route


class _All:
    """What an encoder is given in the place of a registry."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        """Return all."""
        return self._metrics


class Exposition:
    """Says what is counted, for whoever scrapes. ``look`` tells how things are now."""

    def __init__(self, look: Callable[[], Snapshot], version: str) -> None:
        self._look = look
        self._version = version
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def render(self, accept: str, others: Mapping[int, bytes | None] | None = None, number: int = 1) -> Rendered:
        """Return the text and its media type: OpenMetrics, with exemplars, for those who ask for it.

        ``others``: what the other processes said (:meth:`packed`), by their number; ``number``: ours.
        """
        encode, content_type = choose_encoder(accept)
        if others is None:
            return encode(self._registry), content_type
        parts: dict[int, Iterable[Metric] | None] = {number: self._registry.collect()}
        parts |= {other: None if said is None else _read(said) for other, said in others.items()}
        return encode(_All(list(together(parts)))), content_type

    def packed(self) -> bytes:
        """Return all figures for another process."""
        return packed(self._registry.collect())

    def describe(self) -> Iterable[Metric]:
        """Return no description: the registry would look at everything once to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Return all figures; the registry calls it."""
        now = self._look()
        yield InfoMetricFamily("mqbridge", "The bridge.", {"version": self._version})
        yield _gauge("mqbridge_ready", "Whether a call could be served now.", now.ready)
        yield _gauge("mqbridge_draining", "Whether nothing new is taken.", now.draining)
        yield _gauge("mqbridge_broker_connected", "Whether the broker is connected.", now.connected)
        yield CounterMetricFamily(
            "mqbridge_broker_connections", "Connections made to a broker since the start.", now.connections
        )
        yield _gauge("mqbridge_store_up", "Whether the store of jobs is there.", now.store_up)
        yield _gauge("mqbridge_held", "Calls and waiting requests that are held.", now.held)
        yield _gauge("mqbridge_max_held", "How many the bridge may hold.", now.max_held)
        yield _gauge("mqbridge_body_memory_bytes", "Bodies that are being read or wait to be sent.", now.body_memory)
        yield _gauge("mqbridge_max_body_memory_bytes", "How much they may be together.", now.max_body_memory)
        yield CounterMetricFamily("mqbridge_stray_replies", "Replies that nobody waited for.", now.stray_replies)
        yield from _of_routes(now)
        yield from _of_queues(now)
        yield _by("caller", "mqbridge_caller_held", "What a caller of the settings holds.", now.callers)


def _read(said: bytes) -> list[Metric] | None:
    try:
        return unpacked(said)
    except ValueError:  # it died while it said so
        return None


def _of_routes(now: Snapshot) -> Iterator[Metric]:
    calls = CounterMetricFamily(
        "mqbridge_calls",
        "Calls that have ended: the class of the worker's answer, the name of a problem, or caller-gone.",
        labels=["route", "outcome"],
    )
    counted = [(route.name, route.figures) for route in now.routes]
    for name, figures in [*counted, (_UNROUTED, now.unrouted)]:
        for outcome, number in sorted(figures.outcomes.items()):
            calls.add_metric([name, outcome], number)
    yield calls
    took = {name: figures.took for name, figures in counted}
    yield _histograms("mqbridge_call_duration_seconds", "From a call's head to its answer, if it may call.", took)
    queued = {name: figures.queued for name, figures in counted}
    yield _histograms("mqbridge_queue_duration_seconds", "How long messages waited, as workers tell.", queued)
    worked = {name: figures.worked for name, figures in counted}
    yield _histograms("mqbridge_work_duration_seconds", "How long workers worked, as they tell.", worked)
    yield _by("route", "mqbridge_route_held", "Its calls that are held.", [(r.name, r.held) for r in now.routes])
    limits = [(route.name, route.max_held) for route in now.routes]
    yield _by("route", "mqbridge_route_max_held", "How many calls it may hold.", limits)
    times = [(route.name, route.timeout) for route in now.routes]
    yield _by("route", "mqbridge_route_timeout_seconds", "How long a call is held at most.", times)
    oldest = [(route.name, route.oldest) for route in now.routes]
    yield _by("route", "mqbridge_oldest_call_age_seconds", "How long its oldest call at the broker is held.", oldest)


def _of_queues(now: Snapshot) -> Iterator[Metric]:
    unanswered = [(queue.name, queue.unanswered) for queue in now.queues]
    yield _by("queue", "mqbridge_backlog_messages", "This bridge's messages without an answer.", unanswered)
    known = [(queue.name, queue.listeners) for queue in now.queues if queue.listeners != UNKNOWN]
    yield _by("queue", "mqbridge_listeners", "Its consumers; no sample while that is not known.", known)


def _by(label: str, name: str, text: str, samples: Iterable[tuple[str, float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in samples:
        family.add_metric([value], number)
    return family


def _histograms(name: str, text: str, of_routes: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=["route"])
    for route, histogram in of_routes.items():
        family.add_metric([route], _buckets(histogram), histogram.sum)
    return family


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, float(value))


def _buckets(histogram: Histogram) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    bounds = [*(repr(bound) for bound in BOUNDS), "+Inf"]
    buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
    for place, (bound, number) in enumerate(zip(bounds, accumulate(histogram.counts), strict=True)):
        known = histogram.exemplars.get(place)
        if known is None:
            buckets.append((bound, number))
        else:
            buckets.append((bound, number, Exemplar({"trace_id": known.trace_id}, known.seconds, known.at)))
    return buckets
