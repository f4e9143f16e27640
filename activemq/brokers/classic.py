"""ActiveMQ Classic 5.19 and 6.x. Facts run on 6.3.1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from activemq.brokers.attendance import Attendance
from activemq.brokers.epitaph import Epitaph
from activemq.brokers.values import whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from activemq.brokers.profile import Question
    from activemq.frames import Frame

_ADVISORIES: Final = "ActiveMQ.Advisory.Consumer."
_COMMA: Final = "&sbquo;"  # how the name of an advisory topic writes the comma of a composite destination
# A header line is at most 10 KiB [6.3.1]; a queue's name is at most 128 characters.
_QUEUES_AT_ONCE: Final = 40
# The broker's own default, and the prefix of the individual dead-letter queues in this project's configuration.
_DEAD_LETTERS: Final = "ActiveMQ.DLQ"
_DEAD_LETTERS_OF: Final = "DLQ."
_QUEUE: Final = "/queue/"
# Of its memory, its disk, and what it spools to disk (Queue.send, with sendFailIfNoSpace) [6.3.1].
_FULL: Final = ("Usage Manager Memory Limit", "Persistent store is Full", "Temp Store is Full")


@dataclass(frozen=True, slots=True)
class Classic:
    """See :class:`activemq.brokers.profile.Profile`."""

    kind: str = "classic"
    versions: str = "1.2,1.1"
    names_refused_subscriptions: bool = True
    refusals_close: bool = False
    checks_sends: bool = True
    acks_in_transactions: bool = True
    tells_text: bool = True
    tells_who_listens: bool = True
    tells_time: bool = True
    keeps_unacknowledged: bool = False
    media_type_header: str = ""
    replies_need: str = "may this login create, write and read temporary queues, and the queues bridge.replies.>?"
    presence_needs: str = "are its advisories on, and may this login read them and the topic bridge.presence?"

    def recognises(self, server: str) -> bool:
        return server.startswith("ActiveMQ/")  # Artemis says ActiveMQ-Artemis/…

    def on_connection(self, token: str) -> Classic:  # noqa: ARG002 - temporary queues are the connection's anyway
        return self

    def without_declaring(self) -> Classic:
        return self

    def is_full(self, reason: str) -> bool:
        return any(words in reason for words in _FULL)

    def queue(self, name: str) -> str:
        return f"{_QUEUE}{name}"

    def topic(self, name: str) -> str:
        return f"/topic/{name}"

    def consume(self, name: str, prefetch: int = 1) -> Mapping[str, str]:
        # The default prefetch of 1000 gives the first worker everything; 0 never delivers to STOMP.
        return {"destination": self.queue(name), "ack": "client-individual", "activemq.prefetchSize": str(prefetch)}

    def replies(self, name: str) -> Mapping[str, str]:
        return {"destination": self.reply_to(name), "ack": "auto"}

    def reply_to(self, name: str) -> str:
        # Real temporary destinations, made at first mention and purged with the connection that named them.
        return f"/temp-queue/{name}"

    def echo(self, name: str) -> Mapping[str, str]:
        return self.replies(name)

    def echo_to(self, name: str) -> str:
        return self.reply_to(name)

    def durable_reply_to(self, name: str) -> str:
        return self.queue(name)

    def expiry(self, deadline_ms: int, budget_ms: int) -> tuple[str, str]:  # noqa: ARG002 - other brokers want the TTL
        return "expires", str(deadline_ms)

    def stamp(self, frame: Frame) -> int | None:
        return whole_number(frame.get("timestamp"))

    def once(self, frame: Frame, what: str) -> Sequence[tuple[str, str]]:  # noqa: ARG002 - transactions do it
        return ()

    def hand_back(self, subscription: str, acks: Sequence[str]) -> Sequence[tuple[str, Mapping[str, str]]]:  # noqa: ARG002
        return ()  # UNSUBSCRIBE has done it

    def undelivered(self, error: Frame, last: str) -> tuple[str, str] | None:  # noqa: ARG002
        return None

    def resent(self, headers: dict[str, str]) -> dict[str, str]:
        return headers

    def roll_call(self, queues: Sequence[str], beacon: str) -> Sequence[Mapping[str, str]]:
        # Consumer advisories: a new subscriber has one for each consumer that is there, and nothing for none. One
        # subscription to all of them, with a selector so that the broker sends only ours: it goes through all its
        # consumers for each subscription. The topics of `a.>` and `a,b` are not those of the queues they read [6.3.1].
        # `transformation:none`, or their bodies need XStream at the broker, and without it they do not come at all.
        chunks = [queues[at : at + _QUEUES_AT_ONCE] for at in range(0, len(queues), _QUEUES_AT_ONCE)]
        return [
            {
                "destination": self.topic(f"{_ADVISORIES}>"),
                "ack": "auto",
                "transformation": "none",
                "selector": _selector(chunk, None if at else beacon),
            }
            for at, chunk in enumerate(chunks)
        ]

    def questions(
        self,
        queues: Sequence[str],  # noqa: ARG002 - a new subscriber is told unasked
        beacon: str,  # noqa: ARG002
        answer_to: str,  # noqa: ARG002
    ) -> Sequence[Question]:
        return ()

    def attendance(self, frame: Frame) -> Attendance | None:
        kind, _, names = (frame.get("destination") or "").removeprefix(f"/topic/{_ADVISORIES}").partition(".")
        listeners = whole_number(frame.get("consumerCount"))
        if kind not in ("Queue", "Topic") or listeners is None:
            return None
        parts = (name.rpartition("://")[2] for name in names.split(_COMMA))
        return Attendance(tuple(parts), listeners, kind == "Topic")

    def dead_letters(self, queues: Sequence[str]) -> Sequence[str]:
        return [*dict.fromkeys(f"{_DEAD_LETTERS_OF}{queue}" for queue in queues), _DEAD_LETTERS]

    def is_dead_letters(self, name: str) -> bool:
        return name == _DEAD_LETTERS or (name.startswith(_DEAD_LETTERS_OF) and name != _DEAD_LETTERS_OF)

    @property
    def browses(self) -> bool:
        return True

    @property
    def shows_at_most(self) -> int | None:
        return 400  # maxBrowsePageSize

    def look(self, queue: str, prefetch: int, only: str | None = None) -> Mapping[str, str]:
        # A browser gets the first messages (see above), fewer if the broker's memory is short, and then
        # the end; what a worker holds unacknowledged is among them. It is sent no more than the prefetch before its
        # ACKs come, which do nothing else [6.3.1].
        headers = {**self.consume(queue, prefetch), "browser": "true"}
        return headers if only is None else {**headers, **_only(only)}

    def looked(self, frame: Frame) -> bool:
        # A sender can set `browser`, but not the message's id.
        return frame.raw("browser") == "end" and frame.raw("message-id") == "0"

    def pick(self, queue: str, name: str) -> Mapping[str, str]:
        return {**self.consume(queue), **_only(name)}

    def letter_name(self, frame: Frame) -> str:
        return frame.get("message-id") or ""

    def epitaph(self, frame: Frame) -> Epitaph:
        queue = self.queue_of(frame.get("original-destination") or "")
        return Epitaph(queue, frame.get("dlqDeliveryFailureCause"))

    @property
    def epitaph_properties(self) -> frozenset[str]:
        return frozenset({"original-destination", "originalExpiration", "dlqDeliveryFailureCause"})

    def queue_of(self, destination: str) -> str | None:
        name = destination.removeprefix(_QUEUE)
        return name if name and name != destination else None


def _only(name: str) -> Mapping[str, str]:
    """Return the selector for one message; ``name`` may have come from a client of the broker, and hold anything."""
    quoted = name.replace("'", "''")
    return {"selector": f"JMSMessageID = '{quoted}'"}


def _selector(queues: Sequence[str], beacon: str | None) -> str:
    """Return what lets these queues' advisories through; with ``beacon`` also its own, and those of patterns."""
    topics = [f"Queue.{queue}" for queue in queues]
    if beacon is not None:
        topics.append(f"Topic.{beacon}")
    names = ",".join(f"'topic://{_ADVISORIES}{topic}'" for topic in topics)
    selector = f"JMSDestination IN ({names})"
    if beacon is not None:
        selector += "".join(f" OR JMSDestination LIKE '%.Queue.%{part}%'" for part in (">", "*", _COMMA))
    return selector


CLASSIC: Final = Classic()
