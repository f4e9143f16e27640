"""Where a call that is over is written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.figures.ledger import Ledger
from bridge.figures.route import RouteFigures

if TYPE_CHECKING:
    from bridge.figures.ledger import Ended


class Book:
    """The figures of calls for no route, and the last calls of all; each route has figures of its own."""

    def __init__(self) -> None:
        self.unrouted = RouteFigures()  # of calls that were refused before it was clear which route they are for
        self.ledger = Ledger()

    def note(self, figures: RouteFigures | None, ended: Ended, trace_id: str | None) -> None:
        """Count a call and keep it; ``figures``: its route's; ``trace_id``: of the trace that its caller samples."""
        (figures or self.unrouted).ended(ended.outcome, ended.took, trace_id)
        self.ledger.note(ended)
