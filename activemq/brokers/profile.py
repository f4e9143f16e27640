"""What a broker's profile has to say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from activemq.brokers.attendance import Attendance
    from activemq.brokers.epitaph import Epitaph
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

    # -- dead letters: what nobody takes any more, and how operators look at it (activemq.deadletters)

    def dead_letters(self, queues: Sequence[str]) -> Sequence[str]:
        """Return the queues in which the broker itself puts dead messages of ``queues``; names, each once.

        Where that can be configured: the one that this project's own broker configuration names, and the default of
        the broker. A name of a queue that does not exist does no harm: it counts as empty.
        """
        ...

    def is_dead_letters(self, name: str) -> bool:
        """Say whether a queue of this name can only be one of :meth:`dead_letters`, of whichever queue.

        Operators may look into these, and drop what is there, so it has to be false for any name that a route's queue
        could have by chance.
        """
        ...

    @property
    def browses(self) -> bool:
        """Whether :meth:`look` leaves the messages with everybody else, and :meth:`looked` tells its end.

        True: messages are acknowledged as they are looked at, which does not take them; the broker sends no more than
        the prefetch ahead. False: there is no such thing at this broker (Artemis ignores ``browser:true`` and
        consumes), and :meth:`look` takes messages as a worker would. None of them is acknowledged, so that the end of
        the connection gives them all back, in their order; that nothing more comes shows in silence. Where the broker
        counts deliveries each look counts as one, so its own limit must not apply to queues of dead letters.
        """
        ...

    @property
    def shows_at_most(self) -> int | None:
        """How many messages :meth:`look` shows at most, by the broker's default; None: all."""
        ...

    def look(self, queue: str, prefetch: int, only: str | None = None) -> Mapping[str, str]:
        """Return the SUBSCRIBE headers with which to look through a queue from its head, taking nothing for good.

        ``prefetch``: how many messages may be on their way at once; where the broker does not browse, how many are
        looked at. ``only``: just the message of this :meth:`letter_name`, where the broker can pick one; else all.
        The ack mode is ``client-individual``.
        """
        ...

    def looked(self, frame: Frame) -> bool:
        """Say whether this MESSAGE is no message but the end of :meth:`look`; nothing that a sender writes can be."""
        ...

    def pick(self, queue: str, name: str) -> Mapping[str, str]:
        """Return the SUBSCRIBE headers with which to take the message of this :meth:`letter_name`, to be acknowledged.

        Where the broker cannot pick one: headers that give all from the head, ``client-individual``, with a prefetch as
        large as may be held unacknowledged for the search.
        """
        ...

    def letter_name(self, frame: Frame) -> str:
        """Return what names a message in its queue; empty if there is nothing.

        The same at each look, also after it was delivered and given back; no other message ever in the queue has it.
        """
        ...

    def epitaph(self, frame: Frame) -> Epitaph:
        """Read what the broker wrote on a dead letter. What cannot be read, or is foreign, counts as not said."""
        ...

    @property
    def epitaph_properties(self) -> frozenset[str]:
        """The names under which :meth:`epitaph` reads: a message that is made anew does not have them."""
        ...

    def queue_of(self, destination: str) -> str | None:
        """Return the name of the queue that a ``destination`` header of a MESSAGE means; None: it is no queue."""
        ...
