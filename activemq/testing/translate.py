"""STOMP headers to messages and back, as Classic does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from activemq.frames import encode
from activemq.testing.store import ALL_ADVISORIES, Destination, Kind, Message, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PREFIXES: Final[dict[str, Kind]] = {
    "/queue/": "queue",
    "/topic/": "topic",
    "/remote-temp-queue/": "temp-queue",
}
# What a SEND says to the broker; all else is a property of the message.
_NOT_PROPERTIES: Final = frozenset(
    {
        *("destination", "correlation-id", "expires", "timestamp", "priority", "type", "reply-to", "persistent"),
        *("receipt", "transaction", "message-id", "redelivered", "subscription", "ack"),
    }
)


def destination_of(name: str) -> Destination:
    """Read a destination that is not ``/temp-queue/…`` (those are a connection's own).

    Raises :class:`RefusedError`, and :class:`ValueError` for what makes Classic hang up without a word.
    """
    prefix = next((prefix for prefix in _PREFIXES if name.startswith(prefix)), "")
    kind, rest = _PREFIXES.get(prefix, "queue"), name.removeprefix(prefix)
    if not rest:
        raise ValueError("a destination without a name")
    destination = Destination(kind, rest)
    if destination != ALL_ADVISORIES and (rest.startswith("/") or set(rest) & set(",>*?")):
        raise RefusedError(
            f"{name}: this broker knows queues, topics and temp-queues, none composite or with wildcards"
        )
    return destination


def name_of(destination: Destination) -> str:
    """Return how a destination is shown to clients other than a temporary queue's owner."""
    prefix = next(prefix for prefix, kind in _PREFIXES.items() if kind == destination.kind)
    return prefix + destination.name


def message_of(
    headers: Mapping[str, str],
    body: bytes,
    *,
    destination: Destination,
    reply_to: Destination | str | None,
    number: int,
    now_ms: int,
) -> Message:
    """Make a message of a SEND.

    With ``content-length`` it is a BytesMessage, without a TextMessage; ``amq-msg-type`` decides before that. Raises
    :class:`ValueError` for a number that is none.
    """
    kind = headers.get("amq-msg-type", "bytes" if "content-length" in headers else "text")
    if kind not in ("text", "bytes"):
        raise RefusedError(f"Unsupported message type '{kind}'")
    properties = {name: value for name, value in headers.items() if name not in _NOT_PROPERTIES}
    if kind == "bytes":
        properties.pop("content-length", None)
    else:  # what is not UTF-8 is replaced, as a Java string would have it
        body = body.decode(errors="replace").encode()
    return Message(
        id=f"ID:fake-1:{number}",
        number=number,
        destination=destination,
        properties=properties,
        body=body,
        text=kind == "text",
        priority=min(int(headers.get("priority", "4")), 9),
        expires=int(headers.get("expires", "0")),
        timestamp=int(headers.get("timestamp", now_ms)),
        persistent=headers.get("persistent") == "true",
        correlation_id=headers.get("correlation-id"),
        type=headers.get("type"),
        reply_to=reply_to,
    )


def encode_message(message: Message, subscription: str, ack: str | None, show: Callable[[Destination], str]) -> bytes:
    """Make the MESSAGE frame; ``show`` names destinations as this client is to see them."""
    reply_to = message.reply_to
    headers = {
        **message.properties,
        "expires": str(message.expires),
        "destination": show(message.destination),
        "subscription": subscription,
        "priority": str(message.priority),
        "message-id": message.id,
        "timestamp": str(message.timestamp),
    }
    optional = {
        "ack": ack,
        "correlation-id": message.correlation_id,
        "type": message.type,
        "reply-to": show(reply_to) if isinstance(reply_to, Destination) else reply_to,
        "persistent": "true" if message.persistent else None,
        "redelivered": "true" if message.redelivered else None,
        "content-length": None if message.text else str(len(message.body)),
    }
    headers |= {name: value for name, value in optional.items() if value is not None}
    return encode("MESSAGE", headers.items(), message.body) + b"\n"
