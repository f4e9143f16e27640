"""Where a call that is over is written down."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from bridge.figures.access_log import Line, fields_of
from bridge.figures.ledger import Ledger
from bridge.figures.route import RouteFigures

if TYPE_CHECKING:
    from typing import Literal

    from bridge.figures.ledger import Ended

    Access = Literal["all", "problems", "none"]

access_log = logging.getLogger("bridge.access")
_TROUBLE: Final = 500


class Book:
    """The figures of calls for no route, and the last calls of all; each route has figures of its own.

    ``access``: which calls get a line in the log: all, those answered with 5xx, or none.
    """

    def __init__(self, access: Access = "problems") -> None:
        self._access = access
        self.unrouted = RouteFigures()  # of calls that were refused before it was clear which route they are for
        self.ledger = Ledger()

    def note(self, figures: RouteFigures | None, ended: Ended) -> None:
        """Count a call and keep it; ``figures``: its route's."""
        (figures or self.unrouted).ended(ended.outcome, ended.took, ended.trace_id)
        self.ledger.note(ended)
        if self._access == "all" or (self._access == "problems" and ended.status >= _TROUBLE):
            access_log.info("%s", Line(ended), extra=fields_of(ended))
