"""Bytes in, frames out: incremental, bounded, in linear time. No I/O."""

from __future__ import annotations

import re
from typing import Final

from activemq.errors import RemoteProtocolError
from activemq.frames import SERVER_COMMANDS, Frame, Limits

_EOLS: Final = re.compile(rb"[\r\n]*")
_DIGITS: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_USUAL: Final = (b"\n", b"\nMESSAGE", b"\nRECEIPT", b"")  # the quick way out, for the hot path
# What has come of a following frame must be one of these to be one: "", "M", "ME", ... "MESSA"; likewise the others.
_OPENINGS: Final = frozenset(command[:size].encode() for command in SERVER_COMMANDS for size in range(6))

# The NUL that ends a text, of those that may be in it. One search by C for all of them: a step of Python for each would
# hold up the loop for seconds, and who may reply may send 16 MiB of them.
_END_OF_TEXT: Final = re.compile(
    rb"\x00(?=[\r\n]*+(?:%b|(?:%b)?\Z))"
    % tuple(
        b"|".join(sorted(opening for opening in _OPENINGS if opening and (len(opening) == 5) is whole))
        for whole in (True, False)
    )
)

# A frame that begins within a head: a blank line was lost on the way, and two messages would be taken for one, with the
# first one's correlation id and the second one's body. A NUL can be of a JMS property, a line feed cannot [6.3.1].
_LOST_BLANK_LINE: Final = re.compile(rf"\0\r?\n\s*(?:{'|'.join(sorted(SERVER_COMMANDS))})\n")

# More than any broker's frame can be (Java's arrays end at 2 GiB): a length that nobody could mean.
_ABSURD: Final = 2**31


class Parser:
    """Cuts a stream into frames; whatever is not whole yet waits for the next :meth:`feed`.

    Any input either parses or raises :class:`RemoteProtocolError`; after that the parser is of no more use.
    A body over the limit is thrown away as it comes and its frame handed out without it (``Frame.oversize``): one
    worker's reply of 100 MB must not cost the connection that all calls share.
    ``commands`` is what the peer may say: the server's commands for a client, the client's for a test broker.
    ``version`` is the negotiated one; it starts as 1.2, and CONNECT and CONNECTED are never unescaped.
    """

    def __init__(self, limits: Limits | None = None, commands: frozenset[str] = SERVER_COMMANDS) -> None:
        self.version = "1.2"
        self._limits = limits or Limits()
        self._commands = commands
        self._buffer: bytes | bytearray = b""
        self._frame: Frame | None = None  # its head is complete, its body is not
        self._length: int | None = None  # of that body; None: it ends at the first NUL
        self._scanned = 0  # bytes of the unfinished head or body that were searched for its end already
        self._skipped = 0  # bytes of an oversize body that were thrown away already
        self._blank = -1  # where the next two line feeds are in what is being fed; its end if there are none

    def feed(self, data: bytes) -> list[Frame]:
        """Take what was received and return the frames that it completed, in order."""
        buffer: bytes | bytearray = data
        if self._buffer:
            buffer = self._buffer if isinstance(self._buffer, bytearray) else bytearray(self._buffer)
            buffer += data
        frames: list[Frame] = []
        position = 0
        self._blank = -1
        while True:
            frame = self._frame
            if frame is None:
                frame, position = self._read_head(buffer, position)
                if frame is None:
                    break
            end = self._end_of_body(buffer, position)
            if end < 0:
                if len(buffer) - position > self._limits.max_body:
                    self._skip(len(buffer) - position)
                    position = len(buffer)
                break
            size = self._skipped + end - position
            if size <= self._limits.max_body:
                frame.body = bytes(buffer[position:end])
            else:
                frame.oversize = size
            frames.append(frame)
            self._skipped = 0
            self._frame = None
            position = end + 1
        self._keep(buffer, position)
        return frames

    @property
    def buffered(self) -> int:
        """How many bytes wait for the rest of their frame."""
        return len(self._buffer)

    def _keep(self, buffer: bytes | bytearray, position: int) -> None:
        if position == len(buffer):
            self._buffer = b""
        elif isinstance(buffer, bytearray):
            del buffer[:position]
            self._buffer = buffer
        else:
            self._buffer = buffer[position:]

    def _read_head(self, buffer: bytes | bytearray, position: int) -> tuple[Frame | None, int]:
        """Read command and headers; return the frame, or None, and where to go on."""
        if position < len(buffer) and buffer[position] in b"\r\n":  # heart-beats and padding
            match = _EOLS.match(buffer, position)
            position = match.end() if match else position
        search = position + max(self._scanned - 2, 0)  # the end may straddle what was searched
        if self._blank < search:  # else it was found already: frames with CR LF must not search all that follows them
            blank = buffer.find(b"\n\n", search)
            self._blank = blank if blank >= 0 else len(buffer)
        end, after = self._blank, self._blank + 2
        # STOMP 1.2 allows CR LF as the end of a line. Up to and with `end`: a body may itself begin with a line feed.
        windows = buffer.find(b"\n\r\n", search, end + 1)
        if windows >= 0:
            end, after = windows, windows + 3
        if end == len(buffer):
            self._scanned = len(buffer) - position
            self._check_unfinished_head(buffer, position)
            return None, position
        self._frame = frame = self._make_frame(bytes(buffer[position:end]))
        self._scanned = 0
        return frame, after

    def _make_frame(self, head: bytes) -> Frame:
        if len(head) > self._limits.max_line:  # in a shorter head no line can be over it
            self._check_head(head)
        try:
            text = head.decode()
        except UnicodeDecodeError as error:
            raise RemoteProtocolError(f"a frame's head is not UTF-8: {error.reason}") from None
        if "\r" in text:
            text = text.replace("\r\n", "\n").removesuffix("\r")
        command, newline, rest = text.partition("\n")
        if "\0" in text and _LOST_BLANK_LINE.search(text):
            raise RemoteProtocolError("a frame begins within another one's head")
        if command not in self._commands:
            raise RemoteProtocolError(f"unknown command {command[:40]!r}")
        if len(rest) > 2 * self._limits.max_headers and rest.count("\n") >= self._limits.max_headers:
            raise RemoteProtocolError(f"more than {self._limits.max_headers} headers")
        plain = command in ("CONNECT", "CONNECTED")
        frame = Frame(command, newline + rest, b"", "1.0" if plain else self.version)
        self._length = self._content_length(frame)
        return frame

    def _content_length(self, frame: Frame) -> int | None:
        value = frame.raw("content-length")
        if value is None:
            return None
        if not _DIGITS.fullmatch(value):
            raise RemoteProtocolError(f"content-length is not a number: {value[:40]!r}")
        if int(value) > _ABSURD:
            raise RemoteProtocolError(f"a body of {value} bytes")
        return int(value)

    def _end_of_body(self, buffer: bytes | bytearray, start: int) -> int:
        """Return where the body's closing NUL is, or -1 if it has not come yet."""
        if self._length is not None:
            end = start + self._length - self._skipped
            if end >= len(buffer):
                return -1
            if not buffer[end]:
                return end
            if not self._is_message():
                raise RemoteProtocolError("no NUL after a body of the length that content-length gave")
            # Classic hands on a sender's own content-length with a text, also after it has replaced what was not
            # UTF-8 in it [6.3.1]: such a message must not cost the connection. It is read to its NUL.
            self._length = None
        end = buffer.find(b"\0", start + self._scanned)
        if end >= 0 and buffer[end + 1 : end + 9] not in _USUAL and self._is_message():
            end = self._end_of_text(buffer, end)
        self._scanned = len(buffer) - start if end < 0 else 0  # 0: the next frame's head was not searched yet
        return end

    def _is_message(self) -> bool:
        return self._frame is not None and self._frame.command == "MESSAGE"

    @staticmethod
    def _end_of_text(buffer: bytes | bytearray, first: int) -> int:
        """Return the first NUL from ``first`` on that is no part of the body, since a frame can begin behind it, or -1.

        Classic sends the U+0000 of a JMS text as it is, and without content-length [6.3.1]. It puts a line feed behind
        each frame; other brokers need not.
        """
        found = _END_OF_TEXT.search(buffer, first)
        return found.start() if found else -1

    def _skip(self, size: int) -> None:
        """Forget that many bytes of an oversize body."""
        self._skipped += size
        self._scanned = 0
        if self._skipped > _ABSURD:
            raise RemoteProtocolError(f"a body of more than {_ABSURD} bytes")

    def _check_head(self, head: bytes) -> None:
        if len(head) > self._limits.max_head:
            raise RemoteProtocolError(f"a frame's head is over {self._limits.max_head} bytes")
        if max(map(len, head.split(b"\n"))) > self._limits.max_line:
            raise RemoteProtocolError(f"a header line is over {self._limits.max_line} bytes")

    def _check_unfinished_head(self, buffer: bytes | bytearray, position: int) -> None:
        size = len(buffer) - position
        if size <= self._limits.max_line:
            return
        if size > self._limits.max_head + 2:  # what there is of the blank line, LF or LF CR, is no part of it
            raise RemoteProtocolError(f"a frame's head is over {self._limits.max_head} bytes")
        last_line = len(buffer) - 1 - max(buffer.rfind(b"\n", position), position)
        if last_line > self._limits.max_line:
            raise RemoteProtocolError(f"a header line is over {self._limits.max_line} bytes")
