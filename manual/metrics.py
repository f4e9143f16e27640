"""The metrics as a page, from what the bridge exposes."""

from __future__ import annotations

import inspect
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, TypeVar

from bridge.figures.exposition import Exposition
from bridge.figures.route import RouteFigures
from bridge.figures.snapshot import RouteNow, Snapshot
from bridge.figures.together import together
from bridge.presence import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client.metrics_core import Metric

T = TypeVar("T")

_SUFFIX: Final = {"counter": "_total", "info": "_info"}
_MADE_BY_HISTOGRAMS: Final = {"le"}


def render() -> str:
    """Return Markdown: a table of the bridge's metrics with kind, labels and help text."""
    rows = [f"| `{_name(metric)}` | {metric.type} | {_labels(metric)} | {metric.documentation} |" for metric in _all()]
    return "\n".join(["| metric | kind | labels | |", "|---|---|---|---|", *rows, ""])


def _all() -> Iterable[Metric]:
    of_several = islice(together({1: ()}), 1)
    return chain(Exposition(_example, "").collect(), of_several)


def _example() -> Snapshot:
    """Return a bridge with one of everything, so that each metric has a sample with its labels."""
    figures = RouteFigures()
    figures.ended("2xx", 0.01, "")
    figures.queued.note(0.01)
    figures.worked.note(0.01)
    route = _of_zeros(RouteNow, name="orders", queue="orders", figures=figures)
    queue = Queue("orders")
    queue.put(1)
    return _of_zeros(Snapshot, routes=[route], unrouted=RouteFigures(), queues=[queue], callers=[("shop", 0)])


def _of_zeros(kind: Callable[..., T], **values: object) -> T:
    """Make a dataclass of these values, with a zero for each of its numbers."""
    return kind(**dict.fromkeys(inspect.signature(kind).parameters, 0) | values)


def _name(metric: Metric) -> str:
    return metric.name + _SUFFIX.get(metric.type, "")


def _labels(metric: Metric) -> str:
    names = dict.fromkeys(
        name for sample in metric.samples for name in sample.labels if name not in _MADE_BY_HISTOGRAMS
    )
    return ", ".join(f"`{name}`" for name in names)
