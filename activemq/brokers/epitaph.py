"""What a broker writes on a message that it has given up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Epitaph:
    """What the broker itself says of a dead letter; None where it does not.

    ``queue``: the name of the queue that it was in; ``reason``: why it died, in the broker's words, which may be
    anything and are for operators only.
    """

    queue: str | None = None
    reason: str | None = None
