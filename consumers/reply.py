"""What a handler gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

OCTETS = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: HTTP status (200 to 599), body, media type, and headers that the route lets through.

    Nothing is checked here: a reply that cannot be sent becomes `bad-reply` for the caller, and a line in the worker's
    log that says what is wrong with it.
    """

    body: bytes = b""
    status: int = 200
    content_type: str | None = OCTETS
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any) -> Reply:  # noqa: ANN401 - whatever a handler returns
        """Make a reply of what a handler returned.

        A Reply is itself; bytes are octets; a string is text; None is a 204; anything else is JSON (also dataclasses
        and pydantic models). Raises TypeError or ValueError for what is none of these.
        """
        if isinstance(value, Reply):
            return value
        if isinstance(value, (bytes, bytearray, memoryview)):
            return cls(bytes(value))
        if isinstance(value, str):
            return cls(value.encode(), content_type=TEXT)
        if value is None:
            return cls(status=204, content_type=None)
        return cls.json(value)

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:  # noqa: ANN401
        """Make a JSON reply with a status of your own. NaN and the infinities, which JSON does not have, become null.

        Raises ValueError for what cannot be JSON.
        """
        return cls(to_json(value, inf_nan_mode="null"), status, JSON, headers or {})

    @classmethod
    def problem(cls, status: int, detail: str, **members: Any) -> Reply:  # noqa: ANN401 - JSON can be anything
        """Make an error reply of the worker's own (RFC 9457); ``members`` are added to it, or replace the usual ones.

        Raises ValueError for a status that HTTP does not know.
        """
        document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
        return cls(to_json(document | members), status, PROBLEM)


class RefusedError(Exception):
    """The request is at fault, not the worker; ``reply`` says so to the caller."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"refused with {reply.status}")
        self.reply = reply


class BadReplyError(Exception):
    """What there is for an answer cannot be sent. The caller gets `bad-reply`; the text is for the log."""
