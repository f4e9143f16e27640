"""All that a run has found; a part that was not asked for is None."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.parts.calls import Calls
    from bench.parts.death import Death
    from bench.parts.features import Feature
    from bench.parts.keyed import Keyed
    from bench.parts.memory import Memory
    from bench.parts.overload import Overload
    from bench.parts.start import Start
    from bench.parts.stock import Stock


@dataclass(slots=True)
class Results:
    """``machine`` and ``generator`` say what it was measured on and with."""

    machine: dict[str, str]
    generator: str
    calls: Calls | None = None
    processes: Calls | None = None
    memory: list[Memory] | None = None
    stock: Stock | None = None
    features: list[Feature] | None = None
    keyed: Keyed | None = None
    death: Death | None = None
    start: Start | None = None
    overload: list[Overload] | None = None
