"""How a bridge is doing at one moment: what the metrics, and whoever else shows figures, are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.figures.route import RouteFigures
    from bridge.presence import Queue


@dataclass(frozen=True, slots=True)
class RouteNow:
    """One route. ``oldest``: for how many seconds its oldest call at the broker has been held; 0: there is none."""

    name: str
    queue: str
    figures: RouteFigures
    held: int
    max_held: int
    oldest: float
    timeout: float  # seconds


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of it. ``connections``: to brokers since the start; ``callers``: name, held."""

    ready: bool
    draining: bool
    connected: bool
    connections: int
    store_up: bool
    held: int
    max_held: int
    body_memory: int  # bytes
    max_body_memory: int  # bytes
    stray_replies: int
    routes: Sequence[RouteNow]
    unrouted: RouteFigures
    queues: Sequence[Queue]
    callers: Sequence[tuple[str, int]]
