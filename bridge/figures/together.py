"""The figures of several processes as one exposition: each sample with the number of its process. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.samples import Exemplar, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LABEL: Final = "process"


def packed(metrics: Iterable[Metric]) -> bytes:
    """Return metrics as one process hands them to another."""
    return json.dumps([_plain(metric) for metric in metrics]).encode()


def _plain(metric: Metric) -> dict[str, Any]:
    samples = [(one.name, one.labels, one.value, one.exemplar) for one in metric.samples]
    return {"about": (metric.name, metric.documentation, metric.type, metric.unit), "samples": samples}


def unpacked(data: bytes) -> list[Metric]:
    """Return what :func:`packed` was given. Raises ValueError for what is cut off."""
    return [_metric(plain) for plain in json.loads(data)]


def _metric(plain: Mapping[str, Any]) -> Metric:
    metric = Metric(*plain["about"])
    for name, labels, value, exemplar in plain["samples"]:
        metric.samples.append(Sample(name, labels, value, None, None if exemplar is None else Exemplar(*exemplar)))
    return metric


def together(parts: Mapping[int, Iterable[Metric] | None]) -> Iterator[Metric]:
    """Return the metrics of all, by number of process; None: it did not tell. What it has counted is not lost by that.

    One more tells who did, so that a sum that is too low can be told from a quiet hour.
    """
    found: dict[str, Metric] = {}
    for number, metrics in sorted(parts.items()):
        label = {LABEL: str(number)}
        for metric in metrics or ():
            whole = found.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type, metric.unit))
            whole.samples += [one._replace(labels={**one.labels, **label}) for one in metric.samples]
    up = GaugeMetricFamily("mqbridge_process_up", "Whether the process told its figures.", labels=[LABEL])
    for number, metrics in sorted(parts.items()):
        up.add_metric([str(number)], float(metrics is not None))
    yield up
    yield from found.values()
