"""What a worker has done, as numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """What the slots of a worker have done."""

    replied: int = 0
    failed: int = 0  # the handler raised, or what it gave back cannot be sent, or the message cannot be read
    unreadable: int = 0  # a Map, Object or Stream message, of which STOMP is shown no body: not run
    expired: int = 0  # picked up after the deadline: not run
    skipped: int = 0  # its call was over before it was picked up: not run
    cancelled: int = 0  # its call was over while it ran
    handed_on: int = 0  # another worker was lost with it: put back as the next attempt
    lost: int = 0  # the same, where the route does not hand on: the requester was told
    poisoned: int = 0  # lost too many times: parked
    unwanted: int = 0  # the requester was gone when its reply came
    returned: int = 0  # the connection died before the acknowledgement: the broker hands it to another
