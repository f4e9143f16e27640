"""The message contract (docs/messages.md), both sides of it: request and reply to and from STOMP frames. No I/O.

Names of properties are legal Java identifiers, because a JMS program cannot set any other.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from activemq.contract import CONTROLS
from activemq.errors import LocalProtocolError, MessageError, ProtocolError
from activemq.frames import Frame, escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Resent = Callable[[dict[str, str]], dict[str, str]]

HEADER_PREFIX: Final = "http_header_"
PATH_PREFIX: Final = "path_"
# ActiveMQ Classic drops a connection for a header line over 10 KiB, and all calls share ours.
MAX_PROPERTY: Final = 8 * 1024
# A reply that says that there is no answer; the worker's own 502 stays its own.
PROBLEMS: Final = frozenset({"worker-failed", "worker-lost", "poisoned", "bad-reply"})
# What a message that was lost too many times is parked in is named after the queue that it was in.
POISON: Final = ".poison"
KINDS: Final = frozenset({"final", "started", "progress", "chunk"})

_TEXT: Final = "text/plain; charset=utf-8"
_TEXTUAL: Final = re.compile(
    r"(?:text/[^;\s]+|[^;\s]+[/+](?:json|xml)|application/x-www-form-urlencoded)\s*(?:;(?P<parameters>.*))?",
    re.IGNORECASE | re.DOTALL,
)
_CHARSET: Final = re.compile(r"\bcharset\s*=\s*\"?([^\s\";]*)", re.IGNORECASE)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^`|~\w-]+", re.ASCII)  # RFC 9110, 5.6.2: what a header's name may be


def property_of(header: str) -> str:
    """Return the property that carries an HTTP header, e.g. ``http_header_accept_language``."""
    return HEADER_PREFIX + header.lower().replace("-", "_")


def property_size(value: str) -> int:
    """Return how many bytes a value takes on the wire, escaped."""
    return len(escape(value).encode())


@lru_cache(maxsize=256)
def _is_textual(content_type: str) -> bool:
    match = _TEXTUAL.fullmatch(content_type.strip())
    if match is None or content_type.lower().startswith("multipart/"):
        return False
    charset = _CHARSET.search(match["parameters"] or "")
    return charset is None or charset[1].lower() in ("utf-8", "utf8", "us-ascii")


def is_text(content_type: str | None, body: bytes) -> bool:
    """Say whether a body travels as a TextMessage, else as a BytesMessage.

    Text it is if the media type is text, the charset is UTF-8 or unsaid, and the bytes are valid UTF-8 without NUL
    (a TextMessage has no length in STOMP: it ends at the first NUL).
    """
    if content_type is None or not _is_textual(content_type) or b"\0" in body:
        return False
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _finish(head: str, body: bytes, text: bool) -> bytes:
    """Close a frame: without content-length ActiveMQ makes a TextMessage of it, with one a BytesMessage."""
    if text:
        return b"%b\n%b\0" % (head.encode(), body)
    return b"%bcontent-length:%d\n\n%b\0" % (head.encode(), len(body), body)


def _lines(headers: Iterable[tuple[str, str]]) -> str:
    return "".join([f"{name}:{escape(value)}\n" for name, value in headers])


class RequestEncoder:
    """Makes the SEND frames of one route: what never changes is encoded once."""

    __slots__ = ("_media_type_header", "_prefix")

    def __init__(
        self,
        *,
        destination: str,
        reply_to: str,
        route: str,
        persistent: bool = False,
        properties: Iterable[tuple[str, str]] = (),
        media_type_header: str = "",
    ) -> None:
        """``destination``, ``reply_to`` and ``media_type_header`` as the broker's profile names them.

        ``properties``: the same for all messages.
        """
        self._media_type_header = media_type_header
        fixed = [("destination", destination), ("reply-to", reply_to), ("type", route)]
        if persistent:  # a STOMP SEND is not, by default
            fixed.append(("persistent", "true"))
        self._prefix = "SEND\n" + _lines([*fixed, *properties])

    def encode(
        self,
        correlation_id: str,
        expiry: tuple[str, str],
        deadline_ms: int,
        budget_ms: int,
        priority: int,
        properties: Iterable[tuple[str, str]],
        body: bytes,
        *,
        text: bool,
    ) -> bytes:
        """Return one whole frame; its receipt is the correlation id.

        ``expiry``: the profile's header; times in ms, the deadline in the broker's time. Raises
        :class:`LocalProtocolError` for a property with a NUL.
        """
        if self._media_type_header:
            properties = list(properties)  # they are gone through twice
        head = (
            f"{self._prefix}correlation-id:{correlation_id}\nreceipt:{correlation_id}\n{expiry[0]}:{expiry[1]}\n"
            f"priority:{priority}\ndeadline_ms:{deadline_ms}\nbudget_ms:{budget_ms}\n{_lines(properties)}"
        )
        if self._media_type_header:
            head += _lines((self._media_type_header, value) for name, value in properties if name == "content_type")
        return _finish(head, body, text)


class RequestMessage:
    """A request message as a worker gets it; values are read from the frame when asked for.

    Reading a number that is not one raises :class:`MessageError` naming the property.
    """

    __slots__ = ("frame",)

    def __init__(self, frame: Frame) -> None:
        self.frame = frame

    @property
    def body(self) -> bytes:
        """The body, byte for byte."""
        return self.frame.body

    @property
    def correlation_id(self) -> str | None:
        """What the reply has to carry: JMSCorrelationID, or else the message's own id (a Java requester's habit).

        Of a message from AMQP its own id is ``amqp-message-id``; ``message-id`` is RabbitMQ's name for the delivery.
        """
        found = self.frame.get("correlation-id") or self.frame.get("amqp-message-id")
        return found or self.frame.get("message-id")

    @property
    def reply_to(self) -> str | None:
        """Where the reply goes, as it stood on the wire; None: nobody waits for one.

        So it is with a NUL in it, which a JMS client can put there: written back it would end our frame, and what
        follows would be read as another one.
        """
        value = self.frame.raw("reply-to")
        return None if value is None or "\0" in value else value

    @property
    def content_type(self) -> str | None:
        """The media type of the body, if the requester said."""
        return self.frame.get("content_type") or self.frame.get("content-type")

    @property
    def persistent(self) -> bool:
        """Whether the broker keeps the message across a crash."""
        return self.frame.get("persistent") == "true"

    @property
    def redelivered(self) -> bool:
        """Whether some worker may have had it before."""
        return self.frame.get("redelivered") == "true"

    @property
    def deadline_ms(self) -> int | None:
        """The end, epoch ms in the broker's time: the property, or else the message's own expiry. None: no end."""
        return self.number("deadline_ms") or self.number("expires") or None

    @property
    def attempt(self) -> int:
        """1 for the first worker that gets it."""
        return self.number("attempt") or 1

    @property
    def reply_kinds(self) -> frozenset[str]:
        """Which kinds of replies besides the final one the requester wants."""
        value = self.frame.get("reply_kinds")
        return frozenset(value.split()) if value else frozenset()

    def number(self, name: str) -> int | None:
        """Return a property as a whole number, None if it is absent."""
        value = self.frame.get(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit() and len(value) < 19):
            raise MessageError(name, f"is not a whole number: {value[:40]!r}")
        return int(value)

    def text(self, name: str) -> str | None:
        """Return a property as it is."""
        return self.frame.get(name)

    def prefixed(self, prefix: str) -> dict[str, str]:
        """Return all properties that begin with ``prefix``, without it."""
        size = len(prefix)
        return {k[size:]: v for k, v in self.frame.headers.items() if k.startswith(prefix)}


def encode_reply(
    request: RequestMessage,
    *,
    receipt: str,
    status: int = 200,
    content_type: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    problem: str | None = None,
    properties: Iterable[tuple[str, str]] = (),
) -> bytes:
    """Return the SEND frame that answers ``request``, which must have a ``reply_to``.

    ``headers`` are HTTP header names and values; ``problem`` is one of :data:`PROBLEMS`. Raises
    :class:`MessageError` for what cannot be an HTTP header or is over 8 KiB: sending it could cost the connection.
    """
    destination = request.reply_to
    if destination is None:
        raise MessageError("reply-to", "the request has none")
    head = (
        f"SEND\ndestination:{destination}\ncorrelation-id:{escape(request.correlation_id or '')}\nreceipt:{receipt}\n"
    )
    if request.persistent:
        head += "persistent:true\n"
    fields = [("problem", problem)] if problem else [("http_status", str(status))]
    if content_type is not None:
        fields.append(("content_type", content_type))
    for name, value in headers:
        if not _TOKEN.fullmatch(name):  # a LF in it would be a STOMP header of its own
            raise MessageError(name[:80], "is not the name of a header")
        fields.append((property_of(name), value))
    for name, value in fields:
        _check_property(name, value)
    text = is_text(content_type, body)
    return _finish(head + _lines(fields) + _lines(properties), body, text)


def encode_notice(
    request: RequestMessage,
    kind: str,
    sequence: int,
    properties: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    content_type: str | None = None,
) -> bytes:
    """Return the SEND frame of a reply that is not the last: ``started``, ``progress`` or ``chunk``.

    It asks for no receipt. ``request`` must have a ``reply_to``. Raises :class:`MessageError` as :func:`encode_reply`.
    """
    fields = [*properties] if content_type is None else [("content_type", content_type), *properties]
    for name, value in fields:
        if not _TOKEN.fullmatch(name):  # a LF in it would be a STOMP header of its own
            raise MessageError(name[:80], "is not the name of a property")
        _check_property(name, value)
    head = (
        f"SEND\ndestination:{request.reply_to}\ncorrelation-id:{escape(request.correlation_id or '')}\n"
        f"reply_kind:{kind}\nattempt:{request.attempt}\nsequence:{sequence}\n"
    )
    if request.persistent:  # as the reply: the broker keeps the order of messages of one kind only
        head += "persistent:true\n"
    return _finish(head + _lines(fields), body, is_text(content_type, body) or not body)


def encode_cancel(destination: str, correlation_id: str) -> bytes:
    """Return the SEND frame that tells workers that a call is over; ``destination`` is the cancel topic."""
    return _finish(f"SEND\ndestination:{destination}\ncorrelation-id:{escape(correlation_id)}\n", b"", text=True)


# What the broker adds to a message, or what belongs to one delivery of it: not part of a copy.
_OF_THE_DELIVERY: Final = frozenset(
    {
        *("message-id", "subscription", "ack", "destination", "timestamp", "redelivered", "receipt", "transaction"),
        *("destination-type", "_AMQ_DUPL_ID"),
    }
)


# ActiveMQ Classic drops a connection for a header line over 10 KiB or for more than 1,000 headers [6.3.1].
_MAX_LINE: Final = MAX_PROPERTY + 1024  # with its name
_MAX_LINES: Final = 990  # a destination, a receipt and what we add come on top


def encode_copy(
    request: RequestMessage,
    destination: str,
    attempt: int,
    extra: Iterable[tuple[str, str]],
    resent: Resent = dict,
) -> bytes:
    """Return the SEND frame of a copy with another ``attempt`` and all else equal, for its own queue.

    ``resent``: :meth:`Profile.resent` of the broker; ``extra``: headers of the sending, such as a transaction's name.
    Raises :class:`MessageError` for a message that cannot be sent again as it is.
    """
    changed = {"attempt": str(attempt), **dict(extra)}
    return _encode_copy(request, destination, changed, frozenset({"attempt"}), resent)


def encode_poison(
    request: RequestMessage, destination: str, extra: Iterable[tuple[str, str]], resent: Resent = dict
) -> bytes:
    """Return the SEND frame that parks a message: persistent, without end and without requester.

    What the originals were is kept in the properties ``original_queue``, ``original_reply_to`` and
    ``original_expires``; ``left_out`` names the properties that cannot be sent again. ``resent`` and ``extra``: as for
    :func:`encode_copy`. Raises :class:`MessageError` for a message of which nothing can.
    """
    changed = {"persistent": "true", **dict(extra)}
    if request.text("attempt") is None:
        changed["attempt"] = "1"  # here it is read by people, who do not know what goes without saying
    for header in ("destination", "reply-to", "expires"):
        value = request.text(header)
        if value is not None:
            changed[f"original_{'queue' if header == 'destination' else header.replace('-', '_')}"] = value
    dropped = frozenset({"persistent", "reply-to", "expires", "expiration"})
    return _encode_copy(request, destination, changed, dropped, resent, partly=True)


def _encode_copy(
    request: RequestMessage,
    destination: str,
    changed: dict[str, str],
    dropped: frozenset[str],
    resent: Resent,
    *,
    partly: bool = False,
) -> bytes:
    """``partly``: leave out what cannot be sent, and name it in the property ``left_out``."""
    if request.frame.oversize:
        raise MessageError("body", f"is {request.frame.oversize} bytes, over this worker's limit, and was not kept")
    try:
        headers = request.frame.headers
    except ProtocolError as error:
        raise MessageError("headers", str(error)) from None
    counted = headers.pop("content-length", None) is not None
    text = not counted if request.frame.tells_text else is_text(headers.get("content_type"), request.body)
    left_out = _OF_THE_DELIVERY | dropped | changed.keys()
    kept = changed | {k: v for k, v in resent(headers).items() if k not in left_out}
    unfit = _unfit(kept)
    if unfit and not partly:
        raise MessageError(next(iter(unfit))[:80], "cannot be sent again: holds a NUL, is too long or one too many")
    for name in unfit:
        del kept[name]
    if unfit:
        kept["left_out"] = ", ".join(name[:80] for name in unfit)[:1_000].replace("\0", "")
    head = f"SEND\ndestination:{escape(destination)}\n" + _lines((escape(k), v) for k, v in kept.items())
    return _finish(head, request.body, text and b"\0" not in request.body)


def _unfit(headers: dict[str, str]) -> dict[str, None]:
    """Return the names of the headers for which the broker would drop our connection; foreign messages have such."""
    names = [
        name
        for name, value in headers.items()
        if "\0" in name or "\0" in value or property_size(name) + property_size(value) > _MAX_LINE
    ]
    return dict.fromkeys([*names, *list(headers)[_MAX_LINES:]])


def _check_property(name: str, value: str) -> None:
    if CONTROLS.search(value) is not None:
        raise MessageError(name, "holds a control character (CR, LF or another)")
    try:
        size = property_size(value)
    except (LocalProtocolError, UnicodeEncodeError) as error:
        raise MessageError(name, str(error)) from None
    if size > MAX_PROPERTY:
        raise MessageError(name, f"is {size} bytes, over the limit of {MAX_PROPERTY}")


class ReplyMessage:
    """A reply as a requester gets it, checked as far as every requester must.

    Raises :class:`MessageError` naming the field for a reply that cannot be an HTTP answer.
    """

    __slots__ = ("frame",)

    def __init__(self, frame: Frame) -> None:
        self.frame = frame

    @property
    def status(self) -> int:
        """The HTTP status; it says nothing where there is a ``problem``."""
        value = self.frame.get("http_status")
        return 200 if value is None else _status(value)

    @property
    def body(self) -> bytes:
        """The body, byte for byte."""
        return self.frame.body

    @property
    def kind(self) -> str:
        """``final``, or one of the kinds that were asked for."""
        return self.frame.get("reply_kind") or "final"

    @property
    def problem(self) -> str | None:
        """The SDK's word that there is no answer; anything that is not in the contract is a worker's failure."""
        value = self.frame.get("problem")
        return value if value is None or value in PROBLEMS else "worker-failed"

    @property
    def content_type(self) -> str:
        """The property, else STOMP's own header, else by the kind of message.

        One with a length is bytes; where every message has one, what can be a text is one.
        """
        value = self.frame.get("content_type") or self.frame.get("content-type")
        if value is None:
            frame = self.frame
            is_bytes = frame.raw("content-length") is not None
            if is_bytes and (frame.tells_text or not is_text(_TEXT, frame.body)):
                return "application/octet-stream"
            return _TEXT
        return self._legal("content_type", value)

    def property(self, name: str) -> str | None:
        """Return a property that is to become an HTTP header's value, checked for that."""
        value = self.frame.get(name)
        return None if value is None else self._legal(name, value)

    def milliseconds(self, name: str) -> float | None:
        """Return a duration that the worker told, or None if it did not or it is no number."""
        value = self.frame.get(name)
        try:
            number = float(value) if value is not None else -1.0
        except ValueError:
            return None
        return number if 0 <= number < 1e12 else None

    @staticmethod
    def _legal(name: str, value: str) -> str:
        if CONTROLS.search(value) is not None:
            raise MessageError(name, "holds a control character (CR, LF or another)")
        return value


def _status(value: str) -> int:
    if len(value) == 3 and value.isascii() and value.isdigit() and 200 <= int(value) <= 599:
        return int(value)
    raise MessageError("http_status", f"must be 200 to 599, is {value[:20]!r}")
