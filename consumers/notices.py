"""What a handler says before its reply: progress, and the answer in parts.

Both go to the requester's reply destination, numbered, and only if it asked for them: whoever did not is told nothing,
and the handler need not care.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic_core import to_json

from activemq.message import encode_notice, property_of
from consumers.reply import JSON, OCTETS, TEXT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumers.delivery import Delivery

# What a bridge passes on as one event; a chunk may be as large as a frame, and is cut by whoever sends it.
MAX_PROGRESS: Final = 64 * 1024  # bytes


class Notices:
    """The notices of one message: one sequence, from 1, for each attempt (0 is `started`)."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._sequence = 0

    def progress(self, value: Any) -> None:  # noqa: ANN401 - JSON can be anything
        """Send any JSON value, of at most 64 KiB; raises ValueError for a larger one. May be lost on the way."""
        body = to_json(value, inf_nan_mode="null")
        if len(body) > MAX_PROGRESS:
            raise ValueError(f"progress of {len(body)} bytes, over the limit of {MAX_PROGRESS}")
        self._send("progress", body, JSON, ())

    async def chunk(
        self,
        data: Any,  # noqa: ANN401 - see Reply.of
        content_type: str | None,
        status: int | None,
        headers: Mapping[str, str] | None,
    ) -> None:
        """Send a part of the answer, and wait while the broker does not read."""
        body, usual = _as_body(data)
        head = [] if status is None else [("http_status", str(status))]
        head += [(property_of(name), value) for name, value in (headers or {}).items()]
        self._send("chunk", body, content_type or usual, head)
        await self._delivery.drain()

    def _send(self, kind: str, body: bytes, content_type: str, properties: Any) -> None:  # noqa: ANN401
        message = self._delivery.message
        if kind not in message.reply_kinds or message.reply_to is None:
            return
        self._sequence += 1
        self._delivery.notify(encode_notice(message, kind, self._sequence, properties, body, content_type))


def _as_body(data: Any) -> tuple[bytes, str]:  # noqa: ANN401 - see Reply.of
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data), OCTETS
    if isinstance(data, str):
        return data.encode(), TEXT
    return to_json(data, inf_nan_mode="null"), JSON
