"""What a broker's profile has to say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from activemq.brokers.attendance import Attendance
    from activemq.frames import Frame

# What every kind of broker takes as one plain queue. Classic still reads `a,b` as two destinations, `>` and `*` as
# wildcards and `?` as options [6.3.1], so a name with any of these must never reach it.
QUEUE_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Profile(Protocol):
    """How one kind of broker wants to be spoken to. All methods are pure."""

    @property
    def kind(self) -> str:
        """The name used in settings."""
        ...

    def recognises(self, server: str) -> bool:
        """Say whether the ``server`` header of a CONNECTED frame is this kind's."""
        ...

    def queue(self, name: str) -> str:
        """Return the destination of a queue, for SEND and SUBSCRIBE."""
        ...

    def topic(self, name: str) -> str:
        """Return the destination of a topic, for SEND and SUBSCRIBE."""
        ...

    def consume(self, name: str, prefetch: int = 1) -> Mapping[str, str]:
        """Return the SUBSCRIBE headers for a durable queue whose messages are acknowledged one by one.

        ``prefetch``: how many may be unacknowledged; 1 is a worker's slot.
        """
        ...

    def replies(self, name: str) -> Mapping[str, str]:
        """Return the SUBSCRIBE headers for a reply destination that dies with this connection.

        ``name`` is ours to choose; within one connection the same name is the same destination.
        """
        ...

    def reply_to(self, name: str) -> str:
        """Return the ``reply-to`` header that leads to :meth:`replies` of the same name and connection."""
        ...

    def durable_reply_to(self, name: str) -> str:
        """Return the ``reply-to`` header that leads to the durable queue ``name``, for STOMP and JMS workers alike."""
        ...

    def expiry(self, deadline_ms: int, budget_ms: int) -> tuple[str, str]:
        """Return the header that makes the broker forget a message at its deadline.

        ``deadline_ms``: epoch ms in the broker's time; ``budget_ms``: the time left, in ms.
        """
        ...

    def roll_call(self, queues: Sequence[str], beacon: str) -> Sequence[Mapping[str, str]]:
        """Return the SUBSCRIBE headers of what tells who listens on ``queues``, and on the topic ``beacon``.

        Whoever subscribes is told of all that listen at that moment, and then of each who comes or goes, by messages
        that :meth:`attendance` reads. A worker's join is told before its SUBSCRIBE is confirmed. Nothing is told of a
        queue on which nobody listens. No headers at all: this kind of broker does not tell.
        """
        ...

    def attendance(self, frame: Frame) -> Attendance | None:
        """Read a message of :meth:`roll_call`; None if it is nothing of that sort."""
        ...
