"""What goes wrong besides httpx's own errors, and the problems of the bridge (docs/http.md, "Errors")."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx


class EventStreamError(ValueError):
    """What came is not the event stream of a bridge."""


class JobError(Exception):
    """The bridge did not say what was asked of a job; ``response`` is what it answered, with its body read."""

    def __init__(self, message: str, response: httpx.Response) -> None:
        super().__init__(message)
        self.response = response


def problem_of(response: httpx.Response) -> dict[str, Any] | None:
    """Return the problem (RFC 9457) that a bridge answered with, and its name as ``name``; None if it is none.

    The body must have been read.
    """
    return parse_problem(response.headers.get("content-type", ""), response.content)


def parse_problem(content_type: str, body: bytes) -> dict[str, Any] | None:
    """Return what :func:`problem_of` returns, of a media type and a body."""
    if content_type.partition(";")[0].strip().lower() != "application/problem+json":
        return None
    try:
        document = json.loads(body)
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    _, found, name = str(document.get("type", "")).rpartition("/problems/")
    return {**document, "name": name} if found and name else None


def unexpected(what: str, response: httpx.Response) -> JobError:
    """Return the error for an answer that is not what was asked for."""
    problem = problem_of(response)
    said = response.reason_phrase if problem is None else f"{problem['name']}: {problem.get('detail', '')}"
    return JobError(f"{what}: {response.status_code} {said}".rstrip(": "), response)
