"""One dead letter as an operator sees it. Pure: no I/O."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from activemq.errors import MessageError, ProtocolError
from activemq.message import POISON, RequestMessage
from bridge.problems import Problem
from bridge.times import rfc3339

if TYPE_CHECKING:
    from activemq import Frame
    from activemq.brokers import Profile

# A queue's name is at most 128 characters; the ends that make it one of dead letters come on top.
_QUEUE: Final = re.compile(r"[A-Za-z0-9._-]{1,160}")
_LONGEST_TIME: Final = 14  # digits of an epoch in ms, up to the year 5138
_LONGEST_NAME: Final = 1_000  # it goes into a header of ours
_CLIP: Final = 500  # characters of what a sender wrote, in a list


@dataclass(frozen=True, slots=True)
class LetterId:
    """What names a dead letter: its queue, and the message's name there.

    ``str()`` is one segment of a path, as it is and in any shell: what would need an escape there is written ``=2F``.
    """

    queue: str
    name: str

    @classmethod
    def parse(cls, text: str) -> LetterId:
        """Read what ``str()`` made. Raises :class:`Problem` ``no-dead-letter`` for anything else."""
        queue, tilde, name = text.partition("~")
        try:
            name = unquote(name.replace("=", "%"), errors="strict")
        except UnicodeDecodeError:
            tilde = ""
        if not tilde or not _QUEUE.fullmatch(queue) or not 0 < len(name) <= _LONGEST_NAME or "\0" in name:
            raise Problem("no-dead-letter", "there is no dead letter of this id")
        return cls(queue, name)

    def __str__(self) -> str:
        escaped = quote(self.name, safe=":").replace("%", "=")
        return f"{self.queue}~{escaped}"


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, without its body.

    ``when``: RFC 3339, the broker's stamp: when it was parked (``poison``) or first sent (``dead``). ``reason``: why it
    is here, as far as somebody said. ``size`` of the body, in bytes. What its sender wrote is cut at 500 characters.
    """

    id: str
    queue: str
    kind: str  # poison: parked by a worker; dead: given up by the broker
    when: str | None
    when_ms: int | None
    original_queue: str | None
    route: str | None
    correlation_id: str | None
    caller: str | None
    attempts: int | None
    reason: str | None
    size: int
    content_type: str | None
    left_out: str | None

    def document(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)


def may_look_into(queue: str, profile: Profile) -> bool:
    """Say whether a queue is one of dead letters: its messages wait for nobody but an operator."""
    if not _QUEUE.fullmatch(queue):
        return False
    return (queue.endswith(POISON) and queue != POISON) or profile.is_dead_letters(queue)


def letter_of(frame: Frame, queue: str, profile: Profile) -> Letter:
    """Read a dead letter. What cannot be read counts as not said: it must not hide the rest."""
    message = RequestMessage(frame)
    when_ms = _time(_text(message, "timestamp"))
    left_out = _text(message, "left_out")
    return Letter(
        id=str(LetterId(queue, profile.letter_name(frame))),
        queue=queue,
        kind="dead" if profile.is_dead_letters(queue) else "poison",
        when=rfc3339(when_ms),
        when_ms=when_ms,
        original_queue=original_queue(message, queue, profile),
        route=_text(message, "type"),
        correlation_id=_text(message, "correlation-id"),
        caller=_text(message, "caller"),
        attempts=_attempts(message),
        reason=_reason(frame, queue, profile, left_out),
        size=frame.oversize or len(frame.body),
        content_type=_text(message, "content_type") or _text(message, "content-type"),
        left_out=left_out,
    )


def original_queue(message: RequestMessage, queue: str, profile: Profile) -> str | None:
    """Return the name of the queue that a dead letter was sent to at first; None if nobody wrote it down."""
    try:
        came_from = profile.epitaph(message.frame).queue if profile.is_dead_letters(queue) else queue
        if came_from is not None and came_from.endswith(POISON):  # parked, and perhaps given up there by the broker
            kept = message.text("original_queue")
            return profile.queue_of(kept) if kept else came_from.removesuffix(POISON)
    except ProtocolError:
        return None
    return came_from


def _reason(frame: Frame, queue: str, profile: Profile, left_out: str | None) -> str | None:
    if left_out is not None:
        return "could not be sent again whole"
    if not profile.is_dead_letters(queue):
        return "lost with its worker too often"
    try:
        reason = profile.epitaph(frame).reason
    except ProtocolError:
        return None
    return None if reason is None else reason[:_CLIP]


def _text(message: RequestMessage, name: str) -> str | None:
    try:
        value = message.text(name)
    except ProtocolError:
        return None
    return None if value is None else value[:_CLIP]


def _attempts(message: RequestMessage) -> int | None:
    try:
        return message.number("attempt")
    except (MessageError, ProtocolError):
        return None


def _time(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > _LONGEST_TIME:
        return None
    return int(text) or None
