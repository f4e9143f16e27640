"""ActiveMQ Classic 5.19 and 6.x. Facts run on 6.3.1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from activemq.brokers.attendance import Attendance
from activemq.brokers.values import whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from activemq.brokers.profile import Question
    from activemq.frames import Frame

_ADVISORIES: Final = "ActiveMQ.Advisory.Consumer."
_COMMA: Final = "&sbquo;"  # how the name of an advisory topic writes the comma of a composite destination
# A header line is at most 10 KiB [6.3.1]; a queue's name is at most 128 characters.
_QUEUES_AT_ONCE: Final = 40


@dataclass(frozen=True, slots=True)
class Classic:
    """See :class:`activemq.brokers.profile.Profile`."""

    kind: str = "classic"
    versions: str = "1.2,1.1"
    names_refused_subscriptions: bool = True
    acks_in_transactions: bool = True
    tells_text: bool = True

    def recognises(self, server: str) -> bool:
        return server.startswith("ActiveMQ/")  # Artemis says ActiveMQ-Artemis/…

    def on_connection(self, token: str) -> Classic:  # noqa: ARG002 - temporary queues are the connection's anyway
        return self

    def queue(self, name: str) -> str:
        return f"/queue/{name}"

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
