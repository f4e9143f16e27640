"""The types of ASGI, which has none of its own, how to send a whole response, and which requests have a body."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

WITHOUT_CONTENT: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
"""Methods whose requests need no body: it has no meaning there (RFC 9110, 9.3)."""


PART: Final = 64 * 1024  # bytes of an answer that the server is given at once; what it holds without waiting
PART_WITHIN: Final = 10.0  # seconds that a reader has for a part


class CallerGoneError(Exception):
    """The caller has left, or takes nothing any more: there is nobody to answer."""


async def respond(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send a response: in two messages if the body is small, else in parts.

    Neither server waits for a reader after the last part that it is given: parts are what makes it wait, and what is
    counted as memory is counted for as long as it is held. Raises :class:`CallerGoneError` for a reader who takes
    longer than 10 s for one.
    """
    await send({"type": "http.response.start", "status": status, "headers": headers})
    at = 0
    while len(body) - at > PART:
        message = {"type": "http.response.body", "body": body[at : at + PART], "more_body": True}
        await _in_time(send, message)
        at += PART
    last = {"type": "http.response.body", "body": body[at:] if at else body}
    if at:
        await _in_time(send, last)
    else:
        await send(last)


async def _in_time(send: Send, message: Message) -> None:
    try:
        async with asyncio.timeout(PART_WITHIN):
            await send(message)
    except TimeoutError:
        raise CallerGoneError from None
