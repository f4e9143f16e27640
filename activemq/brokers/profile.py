"""What a broker's profile has to say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from activemq.brokers.attendance import Attendance
    from activemq.brokers.epitaph import Epitaph
    from activemq.frames import Frame

# What every kind of broker takes as one plain queue. Classic still reads `a,b` as two destinations, `>` and `*` as
# wildcards and `?` as options [6.3.1], so a name with any of these must never reach it.
QUEUE_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True, slots=True)
class Question:
    """A message that asks the broker something: a SEND's headers, ``destination`` among them, and its body."""

    headers: Mapping[str, str]
    body: bytes = b""


class Profile(Protocol):
    """How one kind of broker wants to be spoken to. All methods are pure."""

    @property
    def kind(self) -> str:
        """The name used in settings."""
        ...

    @property
    def versions(self) -> str:
        """The STOMP versions to offer, the best first, as CONNECT's ``accept-version`` has them.

        A version in which an ERROR leaves the connection open, if there is one: what one call asks for must not end
        all others.
        """
        ...

    @property
    def names_refused_subscriptions(self) -> bool:
        """Whether the ERROR that refuses a SUBSCRIBE names its receipt."""
        ...

    @property
    def refusals_close(self) -> bool:
        """Whether a refused SUBSCRIBE ends the connection."""
        ...

    @property
    def checks_sends(self) -> bool:
        """Whether a SEND in a transaction that is never committed is refused at once where this login may not send.

        RabbitMQ looks at it only at the COMMIT [3.10.8], and knows no right to a single queue.
        """
        ...

    @property
    def acks_in_transactions(self) -> bool:
        """Whether an ACK inside a transaction takes effect with its COMMIT, and not before."""
        ...

    @property
    def tells_text(self) -> bool:
        """Whether a text message comes without ``content-length``, which tells it from one of bytes."""
        ...

    @property
    def tells_who_listens(self) -> bool:
        """Whether the broker tells who listens on a queue, by :meth:`roll_call` or :meth:`questions`."""
        ...

    @property
    def tells_time(self) -> bool:
        """Whether the broker stamps messages with its time, as it comes out of its box; see :meth:`stamp`."""
        ...

    @property
    def keeps_unacknowledged(self) -> bool:
        """Whether what is unacknowledged stays with the connection when its subscription ends.

        If so, :meth:`hand_back` gives it to others; elsewhere UNSUBSCRIBE does.
        """
        ...

    @property
    def media_type_header(self) -> str:
        """The header that tells programs of the broker's other protocols the media type of a body; empty: none.

        What the message contract has for it, and what STOMP programs read, is the property ``content_type``.
        """
        ...

    @property
    def replies_need(self) -> str:
        """What to look at if nothing arrives at our reply destinations: a question to an operator."""
        ...

    @property
    def presence_needs(self) -> str:
        """What to look at if the broker does not tell who listens: a question to an operator."""
        ...

    def recognises(self, server: str) -> bool:
        """Say whether the ``server`` header of a CONNECTED frame is this kind's."""
        ...

    def on_connection(self, token: str) -> Profile:
        """Return the profile for one connection; ``token`` is random, 32 hex digits, and of this connection alone.

        What :meth:`replies`, :meth:`reply_to`, :meth:`echo` and :meth:`echo_to` return belongs to that connection.
        """
        ...

    def without_declaring(self) -> Profile:
        """Return the profile for a broker on which others declare the queues, of whatever kind they like.

        Where queues have no kinds it is the same profile.
        """
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

        ``name`` is ours to choose; within one connection the same name is the same destination. Without a
        ``destination`` there is nothing to subscribe to: replies come by themselves, and ``id`` is the
        ``subscription`` that they come under.
        """
        ...

    def reply_to(self, name: str) -> str:
        """Return the ``reply-to`` header that leads to :meth:`replies` of the same name and connection."""
        ...

    def echo(self, name: str) -> Mapping[str, str]:
        """Return the SUBSCRIBE headers of a destination for messages to ourselves; it dies with this connection.

        Unless ``ack`` is ``auto`` they want to be acknowledged.
        """
        ...

    def echo_to(self, name: str) -> str:
        """Return the destination that leads to :meth:`echo` of the same name and connection."""
        ...

    def durable_reply_to(self, name: str) -> str:
        """Return the ``reply-to`` header that leads to the durable queue ``name``, for STOMP and JMS workers alike."""
        ...

    def expiry(self, deadline_ms: int, budget_ms: int) -> tuple[str, str]:
        """Return the header that makes the broker forget a message at its deadline.

        ``deadline_ms``: epoch ms in the broker's time; ``budget_ms``: the time left, in ms.
        """
        ...

    def stamp(self, frame: Frame) -> int | None:
        """Return when the broker got a message from us, epoch ms by its clock; None if it does not say."""
        ...

    def once(self, frame: Frame, what: str) -> Sequence[tuple[str, str]]:
        """Return headers for a message that is sent in place of ``frame``, so that it is there once.

        Whoever sends it again, since the ACK of ``frame`` was lost, gets a receipt and does no harm. ``what``: which
        one it is, of those that may take the place of ``frame``. Empty if this kind of broker has nothing of the sort.
        """
        ...

    def hand_back(self, subscription: str, acks: Sequence[str]) -> Sequence[tuple[str, Mapping[str, str]]]:
        """Return the frames, command and headers, that give to others what an ended subscription left behind.

        ``subscription``: its id; ``acks``: the ``ack`` headers of those messages. Only where the connection keeps them.
        """
        ...

    def undelivered(self, error: Frame, last: str) -> tuple[str, str] | None:
        """Read an ERROR that says that a message came for a subscription that has ended, and so was not handed over.

        ``last``: the ``message-id`` of the delivery before it on this connection. Returns the subscription's id and the
        ``ack`` header that the message would have had, for :meth:`hand_back`; None for any other ERROR.
        """
        ...

    def is_full(self, reason: str) -> bool:
        """Say whether the broker refused a message for want of room, by the text of its ERROR: later it may take it."""
        ...

    def resent(self, headers: dict[str, str]) -> dict[str, str]:
        """Return the headers with which a message that came with ``headers`` can be sent again, equal to what it was.

        Without those that would be orders to the broker. Names and values are unescaped.
        """
        ...

    def roll_call(self, queues: Sequence[str], beacon: str) -> Sequence[Mapping[str, str]]:
        """Return the SUBSCRIBE headers of what tells who listens on ``queues``, and on the topic ``beacon``.

        By messages that :meth:`attendance` reads the subscriber is told of each who comes or goes. Where there are no
        :meth:`questions` he is also told of all that listen at that moment, and a worker's join is told before its
        SUBSCRIBE is confirmed; nothing is told of a queue on which nobody listens.
        """
        ...

    def questions(self, queues: Sequence[str], beacon: str, answer_to: str) -> Sequence[Question]:
        """Return what asks who listens on ``queues``; the answers, which :meth:`attendance` reads, are certain.

        They come in the order of the questions, to ``answer_to`` (see :meth:`reply_to`), and before what is sent there
        afterwards. Those about the topic ``beacon`` say whether the others are worth anything: at least one that
        somebody listens there, and none that nobody does.
        """
        ...

    def attendance(self, frame: Frame) -> Attendance | None:
        """Read a message of :meth:`roll_call` or an answer; None if it is nothing of that sort."""
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
