"""A STOMP frame, in and out. No I/O.

What comes in keeps its head as one string; a header is looked up and unescaped only when somebody asks for it, since
a held call needs one or two of the twenty that a broker sends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from activemq.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KIB: Final = 1024
MIB: Final = 1024 * KIB

SERVER_COMMANDS: Final = frozenset({"CONNECTED", "MESSAGE", "RECEIPT", "ERROR"})
CLIENT_COMMANDS: Final = frozenset(
    {
        "CONNECT",
        "STOMP",
        "SEND",
        "SUBSCRIBE",
        "UNSUBSCRIBE",
        "ACK",
        "NACK",
        "BEGIN",
        "COMMIT",
        "ABORT",
        "DISCONNECT",
    }
)

# STOMP 1.2, "Value Encoding"; 1.1 has no \r; 1.0 has no escapes at all.
_ESCAPES: Final[dict[str, str]] = {"\\": "\\\\", "\r": "\\r", "\n": "\\n", ":": "\\c"}
_UNESCAPES: Final[dict[str, dict[str, str]]] = {
    "1.1": {"\\\\": "\\", "\\n": "\n", "\\c": ":"},
    "1.2": {"\\\\": "\\", "\\n": "\n", "\\c": ":", "\\r": "\r"},
}
_ESCAPABLE: Final = re.compile(r"[\\\r\n:]")
_ESCAPED: Final = re.compile(r"\\.?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a peer may send in one frame: bytes for a line, the head and the body, a count for headers."""

    max_line: int = 64 * KIB
    max_headers: int = 1_000
    max_head: int = MIB
    max_body: int = 16 * MIB


def escape(text: str) -> str:
    """Escape a header name or value for STOMP 1.2.

    Raises :class:`LocalProtocolError` for a NUL, which no escape exists for and which would end the frame.
    """
    if "\0" in text:
        raise LocalProtocolError(f"a header may not hold a NUL: {text[:80]!r}")
    if _ESCAPABLE.search(text) is None:
        return text
    return _ESCAPABLE.sub(lambda match: _ESCAPES[match[0]], text)


def unescape(text: str, version: str) -> str:
    """Undo the escapes of the given STOMP version; raises :class:`RemoteProtocolError` for an undefined one."""
    if "\\" not in text or version == "1.0":
        return text
    table = _UNESCAPES[version]

    def original(match: re.Match[str]) -> str:
        try:
            return table[match[0]]
        except KeyError:
            raise RemoteProtocolError(f"undefined escape {match[0]!r} in a header") from None

    return _ESCAPED.sub(original, text)


def _name(name: str, version: str) -> str:
    try:
        return unescape(name, version)
    except RemoteProtocolError:
        return name


class Frame:
    """A frame that was received.

    ``command`` is one of STOMP's; ``body`` its bytes without the closing NUL; ``version`` decides the escapes.
    ``oversize`` is 0, or the size in bytes of a body that was over the limit and thrown away.
    ``tells_text``: whether ``content-length`` says that it is bytes, and its absence that it is a text; not every
    broker does. Of a header that is there twice the first counts (STOMP 1.2, "Repeated Header Entries").
    """

    __slots__ = ("_head", "body", "command", "oversize", "tells_text", "version")

    def __init__(self, command: str, head: str, body: bytes = b"", version: str = "1.2") -> None:
        """``head``: all header lines, each with a line feed before it, escaped as on the wire."""
        self.command = command
        self.body = body
        self.oversize = 0
        self.tells_text = True
        self.version = version
        self._head = head

    @classmethod
    def of(cls, command: str, headers: Mapping[str, str], body: bytes = b"") -> Frame:
        """Make a frame from plain headers, as if it had been received."""
        return cls(command, "".join(f"\n{escape(k)}:{escape(v)}" for k, v in headers.items()), body)

    @property
    def head(self) -> str:
        """All header lines as on the wire, each with a line feed before it."""
        return self._head

    def get(self, name: str) -> str | None:
        """Return one header's value, unescaped, or ``None``.

        ``name`` is one of ours and needs no escaping. Raises :class:`RemoteProtocolError` for an undefined escape.
        """
        head = self._head
        start = head.find(f"\n{name}:")
        if start < 0:
            return None
        start += len(name) + 2
        end = head.find("\n", start)
        value = head[start:] if end < 0 else head[start:end]
        return unescape(value, self.version) if "\\" in value else value

    def raw(self, name: str) -> str | None:
        """Return one header's value as it stood on the wire, to be handed back without escaping it again."""
        head = self._head
        start = head.find(f"\n{name}:")
        if start < 0:
            return None
        start += len(name) + 2
        end = head.find("\n", start)
        return head[start:] if end < 0 else head[start:end]

    @property
    def headers(self) -> dict[str, str]:
        """All headers, unescaped. Raises :class:`RemoteProtocolError` for an undefined escape in a value.

        Names are taken as they are if they cannot be unescaped, and lines without a name are left out: Classic hands on
        a JMS property's name without escaping it [6.3.1], and what one sender does must not cost the connection.
        """
        found: dict[str, str] = {}
        for line in self._head.split("\n")[1:]:
            name, colon, value = line.partition(":")
            if colon and name:
                found.setdefault(_name(name, self.version), unescape(value, self.version))
        return found

    def __repr__(self) -> str:
        # Bodies and header values may hold what must not be logged.
        return f"<Frame {self.command} {len(self._head)} B head, {len(self.body)} B body>"


def ack_headers(frame: Frame) -> list[tuple[str, str]]:
    """Return the headers of the ACK for a MESSAGE, by the version of STOMP that it came in."""
    names = ("id",) if frame.version == "1.2" else ("subscription", "message-id")
    return [(name, frame.get("ack" if name == "id" else name) or "") for name in names]


def encode(command: str, headers: Iterable[tuple[str, str]], body: bytes = b"") -> bytes:
    """Encode a frame of STOMP 1.2.

    No ``content-length`` is added: on ActiveMQ it decides between a BytesMessage (there) and a TextMessage (absent),
    so the message contract sets it. CONNECT is not escaped (STOMP 1.2, "Value Encoding"). Raises
    :class:`LocalProtocolError` for a header that cannot be sent, or a NUL in a body without ``content-length``.
    """
    lines = [command]
    counted = False
    for name, value in headers:
        counted = counted or name == "content-length"
        lines.append(f"{_plain(name)}:{_plain(value)}" if command == "CONNECT" else f"{escape(name)}:{escape(value)}")
    if not counted and b"\0" in body:
        raise LocalProtocolError("a body with a NUL needs a content-length")
    return "\n".join(lines).encode() + b"\n\n" + body + b"\0"


def _plain(text: str) -> str:
    if "\n" in text or "\r" in text or "\0" in text:
        raise LocalProtocolError("a header of CONNECT may not hold CR, LF or NUL")
    return text
