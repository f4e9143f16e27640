"""What a handler gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

OCTETS = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: HTTP status (200 to 599), body, media type, and headers that the route lets through."""

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
        """Make a JSON reply with a status of your own."""
        return cls(to_json(value), status, JSON, headers or {})
