"""What became of a request message, as the frame that says so. No I/O.

Everything is checked before it is sent: a frame that the broker does not like ends the connection, and with it all
jobs that run on it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from activemq.contract import NO_BODY
from activemq.errors import MessageError, ProtocolError
from activemq.jms import unreadable
from activemq.message import MAX_PROPERTY, encode_reply
from consumers.reply import BadReplyError, Reply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from activemq.message import RequestMessage

# For requesters that do not tell: what fits into a frame of 4 MiB, our default everywhere, beside its head.
DEFAULT_MAX_REPLY: Final = (4 * 1024 - 64) * 1024

_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,128}")  # what a property's name can carry
_MAX_HEADERS: Final = 200  # ActiveMQ Classic ends a connection that sends more than 1,000


def deadline_of(message: RequestMessage) -> int | None:
    """Return the end, epoch ms in the broker's time; raises MessageError for a message that nobody can work on."""
    if message.frame.oversize:
        raise MessageError("body", f"is {message.frame.oversize} bytes, over this worker's limit")
    try:
        return message.deadline_ms
    except ProtocolError as error:
        raise MessageError("headers", str(error)) from error


def has_lost_its_body(message: RequestMessage) -> bool:
    """Say whether the message is, or may be, a Map, Object or Stream message, of which STOMP is shown no body.

    A JMS client that means an empty one says so: ``content_length`` 0.
    """
    return unreadable(message.frame) and message.frame.raw("content_length") != "0"


def refusal() -> Reply:
    """Return what a requester is told of a message that has lost its body."""
    detail = (
        "not run: it is a Map, Object or Stream message, or an empty text of a JMS client, which looks the same; "
        "send a text or bytes, or the property content_length with 0 for an empty body"
    )
    return Reply.problem(415, detail, ran="no")


def is_over(message: RequestMessage, now_ms: int) -> bool:
    """Say whether nobody waits for the reply any more, at that time in the broker's epoch ms."""
    try:
        deadline = deadline_of(message)
    except MessageError:  # whoever wrote that was told already
        return True
    return deadline is not None and now_ms >= deadline


def call_of(message: RequestMessage) -> str:
    """Return what names the call in log lines: as it came, escapes and all, so that it is one line and always there."""
    return message.frame.raw("correlation-id") or message.frame.raw("message-id") or "without id"


def replies_to(message: RequestMessage) -> bool:
    """Say whether somebody waits for a reply that can be sent.

    An OpenWire client can put there what would make Classic drop our connection [6.3.1]: a destination without a name,
    a correlation id of 20 KB. That is the same as nobody.
    """
    destination = message.reply_to
    if not destination or (destination[-1] in "/ " and destination.rstrip().endswith("/")):
        return False
    correlation_id = message.frame.raw("correlation-id") or ""
    if len(destination) + len(correlation_id) <= MAX_PROPERTY // 4:  # UTF-8 makes four bytes of a character at most
        return True
    return max(len(destination.encode()), len(correlation_id.encode())) <= MAX_PROPERTY


def max_reply(message: RequestMessage) -> int:
    """Return how many bytes the body of the reply may have; raises MessageError if the message says nonsense."""
    return message.number("max_reply") or DEFAULT_MAX_REPLY


def encode_answer(
    message: RequestMessage, reply: Reply, receipt: str, properties: Iterable[tuple[str, str]] = ()
) -> bytes:
    """Return the frame that carries a reply; raises BadReplyError saying why it cannot be sent."""
    _check(message, reply)
    try:
        return encode_reply(
            message,
            receipt=receipt,
            status=reply.status,
            content_type=reply.content_type,
            headers=reply.headers.items(),
            body=reply.body,
            properties=properties,
        )
    except MessageError as error:
        raise BadReplyError(str(error)) from None


def described(reply: Reply, header: str) -> list[tuple[str, str]]:
    """Return ``header``, if there is such a one (:attr:`Profile.media_type_header`), with the reply's media type."""
    return [(header, reply.content_type)] if header and isinstance(reply.content_type, str) else []


def _check(message: RequestMessage, reply: Reply) -> None:
    status, body, content_type = reply.status, reply.body, reply.content_type
    if not (isinstance(status, int) and 200 <= status <= 599):
        raise BadReplyError(f"status must be 200 to 599, is {status!r}")
    if not isinstance(body, bytes):
        raise BadReplyError(f"body must be bytes, is {type(body).__name__} (Reply.of takes anything)")
    if body and status in NO_BODY:
        raise BadReplyError(f"a {status} has no body, this one has {len(body)} bytes")
    if not (content_type is None or isinstance(content_type, str)):
        raise BadReplyError(f"content_type must be a string, is {type(content_type).__name__}")
    if reply.headers:
        _check_headers(reply)
    try:
        limit = max_reply(message)
    except MessageError as error:
        raise BadReplyError(str(error)) from None
    if len(body) > limit:
        raise BadReplyError(f"body is {len(body)} bytes, over the limit of {limit}")


def _check_headers(reply: Reply) -> None:
    if len(reply.headers) > _MAX_HEADERS:
        raise BadReplyError(f"{len(reply.headers)} headers, over the limit of {_MAX_HEADERS}")
    for name, value in reply.headers.items():
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise BadReplyError(f"header {name!r:.80}: a name must be of letters, digits and hyphens")
        if not isinstance(value, str):
            raise BadReplyError(f"header {name}: the value must be a string, is {type(value).__name__}")


def timings(
    message: RequestMessage, deadline: int | None, worker: str, picked_up: int, worked: float
) -> list[tuple[str, str]]:
    """Return the optional properties; a requester that is no bridge is not bothered with them.

    ``deadline`` and ``picked_up``: epoch ms in the broker's time; ``worked``: seconds.
    """
    try:
        budget = message.number("budget_ms")
    except MessageError:
        budget = None
    if deadline is None or budget is None:
        return []
    queued = picked_up - deadline + budget  # negative if the clocks are a little off
    try:
        attempt = message.attempt
    except MessageError:
        attempt = 1  # nobody else counted either
    return [
        ("attempt", str(attempt)),
        ("worker", worker),
        ("queue_ms", str(max(queued, 0))),
        ("work_ms", f"{worked * 1_000:.2f}"),
    ]
