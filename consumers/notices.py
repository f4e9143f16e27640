"""What a handler says before its reply: progress, and the answer in parts.

Both go to the requester's reply destination, numbered, and only if it asked for them: whoever did not is told nothing,
and the handler need not care. The log says so once for each queue, for those who wonder where it has gone.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import to_json

from activemq.errors import BufferFullError
from activemq.message import encode_notice, property_of
from consumers.answer import encode_answer, max_reply, replies_to
from consumers.reply import JSON, OCTETS, TEXT, BadReplyError, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from consumers.delivery import Delivery

log = logging.getLogger(__name__)

# What a bridge passes on as one event.
MAX_PROGRESS: Final = 64 * 1024  # bytes
MAX_PIECE: Final = MAX_PROGRESS


class Unasked:
    """Says once for each queue that nobody asked for what its handler tells. A worker has one."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def note(self, queue: str, kind: str) -> None:
        """``kind``: progress or chunk. From any thread: two at once may both say it, which does no harm."""
        if queue in self._said:
            return
        self._said.add(queue)
        log.info(
            "queue %s: %s is not sent, its message does not ask for any. A bridge asks on routes with `stream = true`, "
            "for jobs and for callers who take events; this is said once",
            queue,
            kind,
        )


class Notices:
    """The notices of one message: one sequence, from 1, for each attempt (0 is `started`)."""

    def __init__(self, delivery: Delivery, queue: str, unasked: Unasked) -> None:
        self._delivery = delivery
        self._queue = queue
        self._unasked = unasked

    def wanted(self, kind: str) -> bool:
        """Say whether the requester asked for progress or chunks, and can be told. From any thread."""
        message = self._delivery.message
        if kind not in message.reply_kinds:
            self._unasked.note(self._queue, kind)
            return False
        return replies_to(message)

    def progress(self, value: Any) -> None:  # noqa: ANN401 - JSON can be anything
        """Send any JSON value, of at most 64 KiB, to who has :meth:`wanted` it. May be lost on the way.

        Raises ValueError for a larger one.
        """
        body = to_json(value, inf_nan_mode="null")
        if len(body) > MAX_PROGRESS:
            raise ValueError(f"progress of {len(body)} bytes, over the limit of {MAX_PROGRESS}")
        with suppress(BufferFullError):
            self._send("progress", body, JSON, ())

    async def chunk(
        self,
        data: Any,  # noqa: ANN401 - see Reply.of
        content_type: str | None,
        status: int | None,
        headers: Mapping[str, str] | None,
    ) -> None:
        """Send a part of the answer, and wait while the broker does not read.

        Bytes and text go in pieces of at most 64 KiB, or the limit of a reply; the head with the first of them.
        Anything else goes as it is: half of a JSON document is none. Raises BadReplyError, with nothing sent, for a
        head that cannot be an answer's and for JSON over the limit.
        """
        message = self._delivery.message
        if not self.wanted("chunk"):
            return
        body, usual = _as_body(data)
        kind = content_type or usual
        # What holds for the head of a reply holds here: sending another could cost the connection, with all its jobs.
        encode_answer(message, Reply(b"", 200 if status is None else status, kind, headers or {}), "")
        limit = max_reply(message)
        if usual == JSON and len(body) > limit:
            raise BadReplyError(f"a chunk of JSON of {len(body)} bytes, over the limit of {limit}")
        head = [] if status is None else [("http_status", str(status))]
        head += [(property_of(name), value) for name, value in (headers or {}).items()]
        for piece in [body] if usual == JSON else _pieces(body, min(MAX_PIECE, limit), text=usual == TEXT):
            self._send("chunk", piece, kind, head)
            head = []
            await self._delivery.drain()

    def _send(self, kind: str, body: bytes, content_type: str, properties: Any) -> None:  # noqa: ANN401
        message = self._delivery.message
        number = self._delivery.told + 1
        self._delivery.notify(encode_notice(message, kind, number, properties, body, content_type))
        self._delivery.told = number  # one that found no room leaves no gap


def _pieces(body: bytes, size: int, *, text: bool) -> Iterator[bytes]:
    """Cut a body into pieces of at most ``size`` bytes; text never within a character. An empty one is one piece."""
    start = 0
    while len(body) - start > size:
        end = start + size
        while text and body[end] & 0xC0 == 0x80 and end > start + 1:  # UTF-8: not a character's first byte
            end -= 1
        yield body[start:end]
        start = end
    yield body[start:]


def _as_body(data: Any) -> tuple[bytes, str]:  # noqa: ANN401 - see Reply.of
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data), OCTETS
    if isinstance(data, str):
        return data.encode(), TEXT
    return to_json(data, inf_nan_mode="null"), JSON
