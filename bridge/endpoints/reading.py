"""The body of a request, whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.asgi import CallerGoneError
from bridge.problems import Problem

if TYPE_CHECKING:
    from bridge.endpoints.call import Call


class Reading:
    """The reading of a body: bounded in size, time and the memory of all bodies together."""

    __slots__ = ("_call", "_limit", "_reserved")

    def __init__(self, call: Call, limit: int) -> None:
        self._call = call
        self._limit = limit
        self._reserved = 0

    def release(self) -> None:
        """Give back the memory that was set aside."""
        self._call.endpoint.admission.release(self._reserved)

    async def whole(self) -> bytes:
        """Return the whole body. Raises :class:`Problem`, and :class:`CallerGoneError`."""
        call = self._call
        if not call.unread:
            return b""
        endpoint = call.endpoint
        if call.head is not None and call.head.content_length is not None:
            self._reserve(call.head.content_length)
        try:
            with endpoint.exchange.wheel.timeout(endpoint.rules.body_timeout):
                body = await self._read()
        except TimeoutError:
            limit = endpoint.rules.body_timeout
            raise Problem("body-timeout", f"the body was not whole within {limit:g} s") from None
        call.unread = False
        return body

    async def _read(self) -> bytes:
        body, more = await self._receive(0)
        if not more:
            return body
        chunks, size = [body], len(body)
        while more:
            body, more = await self._receive(size)
            chunks.append(body)
            size += len(body)
        return b"".join(chunks)

    async def _receive(self, size: int) -> tuple[bytes, bool]:
        message = await self._call.receive()
        if message["type"] == "http.disconnect":
            raise CallerGoneError
        body: bytes = message.get("body", b"")
        size += len(body)
        if size > self._limit:
            raise too_large(self._limit)
        if size > self._reserved:
            self._reserve(size - self._reserved)
        return body, bool(message.get("more_body", False))

    def _reserve(self, size: int) -> None:
        self._call.endpoint.admission.reserve(size)
        self._reserved += size


def too_large(limit: int) -> Problem:
    """Return what a body over ``limit`` bytes is answered with."""
    return Problem("body-too-large", f"the body is over {limit} bytes", extra={"limit_bytes": limit})
