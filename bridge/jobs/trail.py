"""What is kept of a job's events. The rules by which they come about are in :mod:`bridge.jobs.notices`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

KEPT: Final = 1024 * 1024  # bytes of a job's events that are kept at the least, the latest ones
SLACK: Final = KEPT // 4  # bytes more before the oldest are thrown away, so that it is not done for each event
MOST_EARLY: Final = 1_000  # words of a job that wait for one before them
OVERHEAD: Final = 100  # bytes that each event counts for besides its data


@dataclass(frozen=True, slots=True)
class Trail:
    """How far a job's events have come.

    ``last``: the number of the last event, 0: none; ``sequence``: the worker's last word in this attempt, -1: none;
    ``size``: bytes of the events that are kept; ``lost_chunk``: the last chunk that is no longer kept, 0: none;
    ``early``: how many words wait for one before them, and ``early_ms`` since when.
    """

    last: int = 0
    sequence: int = -1
    size: int = 0
    lost_chunk: int = 0
    early: int = 0
    early_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One event; ``number`` rises within its job, ``data`` is one line of JSON, ``at_ms`` the broker's time."""

    number: int
    kind: str
    at_ms: int
    data: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """What it counts for."""
        return len(self.data) + OVERHEAD


@dataclass(frozen=True, slots=True)
class Step:
    """An event without its data, which has ``size`` bytes."""

    number: int
    kind: str
    at_ms: int
    size: int


@dataclass(frozen=True, slots=True)
class Notice:
    """A worker's word: ``started``, ``progress`` or ``chunk``.

    ``data`` is one line of JSON, empty for ``started``, None for what is too large to be an event. ``attempt`` and
    ``sequence`` as the worker says, None where it does not.
    """

    kind: str
    attempt: int | None
    sequence: int | None
    data: bytes | None = field(repr=False)
