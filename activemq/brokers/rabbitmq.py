"""RabbitMQ with its plugin ``rabbitmq_stomp``. Facts run on 3.10.8; where later ones differ the source of 4.x says so.

A STOMP message and an AMQP one are the same message: headers that STOMP knows are AMQP's properties, all others its
``headers``. So what is sent here also has to be right for programs that speak AMQP.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from activemq.brokers.epitaph import Epitaph
from activemq.brokers.values import whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from activemq.brokers.attendance import Attendance
    from activemq.brokers.profile import Question
    from activemq.frames import Frame

REPLY: Final = "bridge.reply."
_OWN: Final = "bridge."  # queues that are ours, whoever declares the others
_POISON: Final = ".poison"
_TO_REPLY: Final = "/reply-queue/"
_ENDED: Final = re.compile(rb"\AThere is no current subscription with tag 'T_([^']+)'\.")
_DELIVERY: Final = re.compile(r"T_.*@@(?P<session>[^@]+)@@(?P<tag>\d{1,18})")
_NOTHING: Final = "bridge.nothing"  # a topic that nobody writes to

_SEARCH: Final = 1_000  # messages that may be held while one of them is looked for
_OF_THE_DELIVERY: Final = frozenset({"message-id", "subscription", "ack", "redelivered", "x-delivery-count"})

# In a SEND these are arguments of a queue that is declared, or checked against the login: a message that came with one
# (an AMQP program may put anything there) must not be sent again with it. Some cost the connection, some the receipt.
_COMMANDS: Final = frozenset(
    {
        *("user-id", "durable", "auto-delete", "exclusive"),
        *("x-dead-letter-exchange", "x-dead-letter-routing-key", "x-expires", "x-message-ttl", "x-queue-type"),
        *("x-max-length", "x-max-length-bytes", "x-max-priority", "x-max-age"),
        *("x-stream-max-segment-size-bytes", "x-stream-filter-size-bytes"),
    }
)


@dataclass(frozen=True, slots=True)
class RabbitMq:
    """See :class:`activemq.brokers.profile.Profile`."""

    kind: str = "rabbitmq"
    versions: str = "1.2"
    names_refused_subscriptions: bool = False  # no ERROR names its receipt
    refusals_close: bool = True
    # A transaction is kept by the connection and done one by one at COMMIT, which is confirmed whatever comes of it.
    checks_sends: bool = False
    acks_in_transactions: bool = False
    tells_text: bool = False
    tells_who_listens: bool = False
    tells_time: bool = False
    keeps_unacknowledged: bool = True
    media_type_header: str = "content-type"
    replies_need: str = (
        "may this login configure and read queues of bridge.reply. and bridge.replies., and write to the exchange "
        "amq.default? docs/brokers.md has the rights"
    )
    presence_needs: str = "RabbitMQ does not tell it"
    declares: bool = True
    token: str = ""

    def recognises(self, server: str) -> bool:
        return server.startswith("RabbitMQ/")

    def on_connection(self, token: str) -> RabbitMq:
        return replace(self, token=token)

    def without_declaring(self) -> RabbitMq:
        return replace(self, declares=False)

    def is_full(self, reason: str) -> bool:  # noqa: ARG002 - it does not read on, and says nothing
        return False

    def queue(self, name: str) -> str:
        # `/queue/` declares a durable classic queue, and costs the connection if there is one of another kind;
        # `/amq/queue/` takes any that is there. To one that is not what is sent is confirmed and lost.
        is_ours = name.startswith(_OWN) or name.endswith(_POISON)
        return f"/queue/{name}" if self.declares or is_ours else f"/amq/queue/{name}"

    def topic(self, name: str) -> str:
        return f"/topic/{name}"  # a routing key of the exchange amq.topic

    def consume(self, name: str, prefetch: int = 1) -> Mapping[str, str]:
        return {"destination": self.queue(name), "ack": "client-individual", "prefetch-count": str(prefetch)}

    def replies(self, name: str) -> Mapping[str, str]:
        # A queue that nobody else may read, and that ends with the connection or the subscription. `/temp-queue/` in
        # reply-to would make one as well, but nothing could be sent there by ourselves, and no refusal would be told.
        only_ours = {"durable": "false", "exclusive": "true", "auto-delete": "true"}
        return {"destination": f"/queue/{self.reply_to(name)}", "ack": "auto", **only_ours}

    def reply_to(self, name: str) -> str:
        # Bare, as AMQP programs want it; STOMP programs are shown `/reply-queue/NAME`. With the token, since the queue
        # of a connection that has died can be there for a moment.
        return f"{REPLY}{name}.{self.token}"

    def echo(self, name: str) -> Mapping[str, str]:
        return self.replies(name)

    def echo_to(self, name: str) -> str:
        return _TO_REPLY + self.reply_to(name)

    def durable_reply_to(self, name: str) -> str:
        return name

    def expiry(self, deadline_ms: int, budget_ms: int) -> tuple[str, str]:  # noqa: ARG002 - it wants the time to live
        return "expiration", str(max(budget_ms, 0))

    def stamp(self, frame: Frame) -> int | None:
        # Its own `timestamp` is in seconds. The header is there if the broker is told to set it (from 3.12:
        # message_interceptors.incoming.set_header_timestamp.overwrite).
        return whole_number(frame.get("timestamp_in_ms"))

    def once(self, frame: Frame, what: str) -> Sequence[tuple[str, str]]:  # noqa: ARG002 - it has nothing of the sort
        return ()

    def hand_back(self, subscription: str, acks: Sequence[str]) -> Sequence[tuple[str, Mapping[str, str]]]:
        # A NACK names its subscription, which has to be there: so another of the same id, that brings nothing.
        again = {"id": subscription, "destination": self.topic(_NOTHING), "ack": "client-individual"}
        nacks = [("NACK", {"id": ack, "requeue": "true"}) for ack in acks]
        return [("SUBSCRIBE", again), *nacks, ("UNSUBSCRIBE", {"id": subscription})]

    def undelivered(self, error: Frame, last: str) -> tuple[str, str] | None:
        # It counts the deliveries of a connection, and this one is the next after the last; it says which only in ids.
        ended = _ENDED.search(error.body)
        delivery = _DELIVERY.fullmatch(last)
        if ended is None or delivery is None:
            return None
        subscription, tag = ended[1].decode(), int(delivery["tag"])
        return subscription, f"T_{subscription}@@{delivery['session']}@@{tag + 1}"

    def resent(self, headers: dict[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in headers.items() if name not in _COMMANDS}
        if kept.get("persistent") != "true":  # AMQP's delivery mode 1 comes as `persistent:1`, which it does not take
            kept.pop("persistent", None)
        name = kept.get("reply-to", "").removeprefix(_TO_REPLY)
        if name and "/" not in name:  # with the prefix an AMQP worker could not reply; with a slash it is needed
            kept["reply-to"] = name
        return kept

    def roll_call(self, queues: Sequence[str], beacon: str) -> Sequence[Mapping[str, str]]:  # noqa: ARG002 - as above
        # The event exchange tells of consumers that come and go, but not of those that are there.
        return ()

    def questions(self, queues: Sequence[str], beacon: str, answer_to: str) -> Sequence[Question]:  # noqa: ARG002
        return ()

    def attendance(self, frame: Frame) -> Attendance | None:  # noqa: ARG002 - as above
        return None

    def dead_letters(self, queues: Sequence[str]) -> Sequence[str]:  # noqa: ARG002 - as above
        return ()  # where they go is in the declaration of each queue, or in a policy

    def is_dead_letters(self, name: str) -> bool:  # noqa: ARG002 - no name says so
        return False

    @property
    def browses(self) -> bool:
        return False

    @property
    def shows_at_most(self) -> int | None:
        return None

    def look(self, queue: str, prefetch: int, only: str | None = None) -> Mapping[str, str]:  # noqa: ARG002
        return self.consume(queue, prefetch)

    def looked(self, frame: Frame) -> bool:  # noqa: ARG002 - it does not say
        return False

    def pick(self, queue: str, name: str) -> Mapping[str, str]:  # noqa: ARG002
        return self.consume(queue, _SEARCH)

    def letter_name(self, frame: Frame) -> str:
        # `message-id` is the delivery's, and the broker has no other. What the sender said is the same each time, and
        # of what the bridge has sent no two say the same.
        said = [f"{name}:{value}" for name, value in sorted(frame.headers.items()) if name not in _OF_THE_DELIVERY]
        return hashlib.sha256("\n".join(said).encode()).hexdigest()[:32]

    def epitaph(self, frame: Frame) -> Epitaph:
        return Epitaph(frame.get("x-first-death-queue"), frame.get("x-first-death-reason"))

    @property
    def epitaph_properties(self) -> frozenset[str]:
        parts = ("queue", "reason", "exchange")
        return frozenset({*(f"x-{which}-death-{part}" for which in ("first", "last") for part in parts), "x-death"})

    def queue_of(self, destination: str) -> str | None:
        name = destination.removeprefix("/queue/")
        return name if name and name != destination and "/" not in name else None


RABBITMQ: Final = RabbitMq()
