"""The types of ASGI, which has none of its own, how to send a whole response, and which requests have a body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

WITHOUT_CONTENT: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
"""Methods whose requests need no body: it has no meaning there (RFC 9110, 9.3)."""


async def respond(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send a response in two messages."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
