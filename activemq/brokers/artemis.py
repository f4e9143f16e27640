"""ActiveMQ Artemis 2.x. Facts run on 2.57.0.

Its STOMP acceptor needs ``anycastPrefix=/queue/,queue://,temp-queue://;multicastPrefix=/topic/,topic://,temp-topic://``
(docs/brokers.md says what else): the first of each are ours, the others are how JMS programs name where they want their
replies.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from activemq.brokers.attendance import Attendance
from activemq.brokers.epitaph import Epitaph
from activemq.brokers.profile import Question
from activemq.brokers.values import whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from activemq.frames import Frame

REPLY: Final = "bridge.reply."  # addresses that only bridges may read
ECHO: Final = "bridge.echo."
_NOTIFICATIONS: Final = "activemq.notifications"
_MANAGEMENT: Final = "activemq.management"
_ASKED: Final = "who-listens "  # begins the correlation id of a question; the queue's name follows
_ONE_BROKER: Final = "one-broker "  # likewise, with the beacon's name
_NO_PATTERNS: Final = "no-patterns "
_COUNT: Final = "_AMQ_ConsumerCount"
_WILDCARDS: Final = "*#"
_DEAD_LETTERS: Final = "DLQ"
_LETTER: Final = 64 * 1024  # bytes of an average one, more than most have
_SEARCH: Final = 64 * 1024 * 1024  # bytes that may be held unacknowledged to find one


@dataclass(frozen=True, slots=True)
class Artemis:
    """See :class:`activemq.brokers.profile.Profile`."""

    kind: str = "artemis"
    # In 1.2 it closes the connection after each ERROR, in 1.1 only after a refused login [2.57].
    versions: str = "1.1"
    names_refused_subscriptions: bool = False
    refusals_close: bool = False
    # An ACK in a transaction takes effect at once, and is not undone [2.57].
    checks_sends: bool = True
    acks_in_transactions: bool = False
    tells_text: bool = False
    tells_who_listens: bool = True
    tells_time: bool = True
    keeps_unacknowledged: bool = False
    media_type_header: str = ""
    replies_need: str = (
        "has the STOMP acceptor anycastPrefix=/queue/,queue://,temp-queue:// and "
        "multicastPrefix=/topic/,topic://,temp-topic://, are addresses of bridge.reply.# MULTICAST and of "
        "bridge.replies.# ANYCAST, and may this login create and read them? docs/brokers.md has the settings"
    )
    presence_needs: str = (
        "may this login manage activemq.management and read activemq.notifications, is the broker in no cluster, "
        "and does nobody listen by a wildcard?"
    )
    token: str = ""

    def recognises(self, server: str) -> bool:
        return server.startswith("ActiveMQ-Artemis/")

    def on_connection(self, token: str) -> Artemis:
        return replace(self, token=token)

    def without_declaring(self) -> Artemis:
        return self

    def is_full(self, reason: str) -> bool:
        return "AMQ229102" in reason  # address-full-policy FAIL; ours is PAGE

    def queue(self, name: str) -> str:
        return f"/queue/{name}"

    def topic(self, name: str) -> str:
        return f"/topic/{name}"

    def consume(self, name: str, prefetch: int = 1) -> Mapping[str, str]:
        # The window is in bytes and counts from nothing: 1 is one message, whatever its size. There is no way to say
        # "64 messages"; 64 KiB are about as many small ones.
        window = 1 if prefetch == 1 else prefetch * 1024
        return {"destination": self.queue(name), "ack": "client-individual", "consumer-window-size": str(window)}

    # There are no temporary queues: `/temp-queue/x` is an address like any other, shared by its name. What dies with a
    # connection is a subscription to a MULTICAST address, and what is sent there with nobody listening is dropped. On
    # an ANYCAST one it would wait for whoever subscribes next.

    def replies(self, name: str) -> Mapping[str, str]:
        return {"destination": self.topic(self.reply_to(name)), "ack": "auto"}

    def reply_to(self, name: str) -> str:
        # Bare: a JMS client takes a prefix for a part of the name.
        return f"{REPLY}{name}.{self.token}"

    def echo(self, name: str) -> Mapping[str, str]:
        # Not `auto`: where its own acknowledgement comes after an UNSUBSCRIBE, the session's next one is lost as well,
        # and some other message is delivered twice [2.57].
        return {"destination": self.echo_to(name), "ack": "client-individual"}

    def echo_to(self, name: str) -> str:
        return self.topic(f"{ECHO}{name}.{self.token}")

    def durable_reply_to(self, name: str) -> str:
        # Its JMS client takes a bare name for a topic's, and a queue refuses what is sent to it as to a topic. The
        # other name, that of a JMS queue, is one of the acceptor's prefixes.
        return f"queue://{name}"

    def expiry(self, deadline_ms: int, budget_ms: int) -> tuple[str, str]:  # noqa: ARG002 - other brokers want the TTL
        return "expires", str(deadline_ms)

    def stamp(self, frame: Frame) -> int | None:
        return whole_number(frame.get("timestamp"))

    def once(self, frame: Frame, what: str) -> Sequence[tuple[str, str]]:
        # With the number, because a correlation id of others need not be unique; it comes last, so that it is not cut.
        correlation_id = (frame.get("correlation-id") or "")[:900]
        return [("_AMQ_DUPL_ID", f"{correlation_id}-{_number(frame)}-{what}")]

    def hand_back(self, subscription: str, acks: Sequence[str]) -> Sequence[tuple[str, Mapping[str, str]]]:  # noqa: ARG002
        return ()  # UNSUBSCRIBE has done it

    def undelivered(self, error: Frame, last: str) -> tuple[str, str] | None:  # noqa: ARG002
        return None

    def resent(self, headers: dict[str, str]) -> dict[str, str]:
        return headers

    def roll_call(self, queues: Sequence[str], beacon: str) -> Sequence[Mapping[str, str]]:  # noqa: ARG002 - see questions
        names = ",".join(f"'{queue}'" for queue in queues)
        kinds = "'CONSUMER_CREATED','CONSUMER_CLOSED'"
        patterns = "".join(f" OR _AMQ_Address LIKE '%{wildcard}%'" for wildcard in _WILDCARDS)
        selector = f"_AMQ_NotifType IN ({kinds}) AND (_AMQ_Address IN ({names}){patterns})"
        return [{"destination": self.topic(_NOTIFICATIONS), "ack": "auto", "selector": selector}]

    def questions(self, queues: Sequence[str], beacon: str, answer_to: str) -> Sequence[Question]:
        # In a cluster a worker of another broker may take the message, and this one does not count it. A consumer of
        # `a.*` gets messages of `a.b`, and the question about `a.b` does not count it either.
        return [
            _question("listNetworkTopology", _ONE_BROKER + beacon, answer_to),
            *(_count(_NO_PATTERNS + beacon, answer_to, "CONTAINS", wildcard) for wildcard in _WILDCARDS),
            *(_count(_ASKED + queue, answer_to, "EQUALS", queue) for queue in queues),
        ]

    def attendance(self, frame: Frame) -> Attendance | None:
        listeners = whole_number(frame.get(_COUNT))
        if listeners is not None:
            return Attendance(((frame.get("_AMQ_Address") or "").replace("#", ">"),), listeners)
        if frame.get("_AMQ_OperationSucceeded") != "true":
            return None
        asked, result = frame.get("correlation-id") or "", _result(frame.body)
        number = len(result) if isinstance(result, list) else result.get("count") if isinstance(result, dict) else None
        if not isinstance(number, int):
            return None
        if asked.startswith(_ASKED):
            return Attendance((asked.removeprefix(_ASKED),), number, certain=True)
        for question, most in ((_ONE_BROKER, 1), (_NO_PATTERNS, 0)):
            if asked.startswith(question):
                return Attendance((asked.removeprefix(question),), int(number <= most), is_topic=True, certain=True)
        return None

    # -- dead letters: it ignores `browser:true` and consumes, and no selector picks a message by its number [2.57]

    def dead_letters(self, queues: Sequence[str]) -> Sequence[str]:  # noqa: ARG002 - one for all
        return [_DEAD_LETTERS]

    def is_dead_letters(self, name: str) -> bool:
        return name == _DEAD_LETTERS

    @property
    def browses(self) -> bool:
        return False

    @property
    def shows_at_most(self) -> int | None:
        return None

    def look(self, queue: str, prefetch: int, only: str | None = None) -> Mapping[str, str]:  # noqa: ARG002
        return {**self.consume(queue), "consumer-window-size": str(min(prefetch * _LETTER, _SEARCH))}

    def looked(self, frame: Frame) -> bool:  # noqa: ARG002 - it does not say
        return False

    def pick(self, queue: str, name: str) -> Mapping[str, str]:  # noqa: ARG002
        return {**self.consume(queue), "consumer-window-size": str(_SEARCH)}

    def letter_name(self, frame: Frame) -> str:
        return _number(frame)

    def epitaph(self, frame: Frame) -> Epitaph:
        return Epitaph(frame.get("_AMQ_ORIG_QUEUE") or frame.get("_AMQ_ORIG_ADDRESS"))

    @property
    def epitaph_properties(self) -> frozenset[str]:
        origin = {f"_AMQ_ORIG_{what}" for what in ("ADDRESS", "QUEUE", "MESSAGE_ID", "ROUTING_TYPE")}
        return frozenset({*origin, "_AMQ_ACTUAL_EXPIRY", "_AMQ_DUPL_ID", "destination-type"})

    def queue_of(self, destination: str) -> str | None:
        # As its sender wrote it; a JMS client writes the bare name.
        name = destination.removeprefix("/queue/")
        return name if name and "/" not in name else None


def _number(frame: Frame) -> str:
    """Return the message's own number, which outlives a delivery: `message-id` is the consumer's, and then that."""
    return (frame.get("message-id") or "").rpartition(",")[2]


def _count(correlation_id: str, answer_to: str, operation: str, value: str) -> Question:
    """Ask how many consumers there are; by the address, since a queue of it may have another name."""
    by_address = json.dumps({"field": "address", "operation": operation, "value": value})
    return _question("listConsumers", correlation_id, answer_to, by_address, 1, 1)


def _question(operation: str, correlation_id: str, answer_to: str, *arguments: object) -> Question:
    headers = {
        "destination": _MANAGEMENT,
        "reply-to": answer_to,
        "correlation-id": correlation_id,
        "_AMQ_ResourceName": "broker",
        "_AMQ_OperationName": operation,
    }
    return Question(headers, json.dumps(arguments).encode())


def _result(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Read the answer to an operation: a JSON list that holds one string, which is JSON."""
    try:
        (text,) = json.loads(body)
        return json.loads(text)
    except (ValueError, TypeError):
        return None


ARTEMIS: Final = Artemis()
