"""What a worker has done, as numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """What the slots of a worker have done."""

    replied: int = 0
    failed: int = 0  # the handler raised, or what it gave back cannot be sent, or the message cannot be read
    expired: int = 0  # picked up after the deadline: not run
    unwanted: int = 0  # the requester was gone when its reply came
    returned: int = 0  # the connection died before the acknowledgement: the broker hands it to another
