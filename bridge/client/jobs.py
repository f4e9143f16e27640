"""What both clients know of jobs (docs/http.md, "Jobs")."""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING, Any, Final, TypedDict

import httpx

from bridge.client.errors import unexpected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.client.events import Event

WAIT: Final = 30  # seconds that one request waits for a job's end; proxies end longer ones
SILENCE: Final = 40.0  # seconds; a bridge says something every 15 s, so one that is silent for longer is gone
CONNECT: Final = 5.0  # seconds
PAUSE: Final = 0.2  # seconds, at first
LONGEST_PAUSE: Final = 5.0
_OPEN: Final = frozenset({"queued", "running"})
_ID: Final = re.compile(r"[0-9a-f]{32}")


class Options(TypedDict, total=False):
    """What httpx takes with a request, besides its headers."""

    content: str | bytes
    json: object
    data: Mapping[str, Any]
    files: Mapping[str, Any]
    params: Mapping[str, str | int | float | bool | None]


def new_key() -> str:
    """Return a fresh Idempotency-Key: 128 random bits in hex."""
    return secrets.token_hex(16)


def job_of(response: httpx.Response) -> str | None:
    """Return the id of the job that an answer is about; None if the request made none."""
    found = response.headers.get("correlation-id", "")
    return found if "job-state" in response.headers and _ID.fullmatch(found) else None


def is_open(response: httpx.Response) -> bool:
    """Say whether the job is not over: the answer is a ``202``, or the ``504`` of who had waited for it."""
    return response.headers.get("job-state") in _OPEN


def path_of(job_id: str, page: str = "") -> str:
    """Return where a job is. Raises ValueError for what is no id."""
    if not _ID.fullmatch(job_id):
        raise ValueError(f"{job_id!r} is no job's id: 32 of 0-9 and a-f")
    return f"/jobs/{job_id}{page}"


def asks_for_job(headers: dict[str, str] | None, idempotency_key: str | None) -> dict[str, str]:
    """Return the headers with which a request makes a job and is answered at once."""
    key = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    return {**(headers or {}), "Prefer": "respond-async", **key}


class Deadline:
    """So many seconds from now."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds; 0 when it is over."""
        return max(self._until - time.monotonic(), 0.0)


class Following:
    """Waiting for a job's end, by one question after the other."""

    def __init__(self, job_id: str, deadline: Deadline) -> None:
        self.path = path_of(job_id, "/result")
        self._job_id = job_id
        self._deadline = deadline
        self._asked = 0.0

    def options(self) -> dict[str, Any]:
        """Return the options of the next question. Raises :class:`httpx.ReadTimeout` if there is no time for it."""
        left = self._asked = self._deadline.left
        if not left:
            raise httpx.ReadTimeout(f"job {self._job_id} goes on, but the deadline is over")
        wait = max(min(round(left), WAIT), 1)
        return {"headers": {"Prefer": f"wait={wait}"}, "extensions": {"deadline": left}}

    def pause(self, response: httpx.Response) -> float | None:
        """Return how long to wait before the next question, in seconds; None if the response is the job's answer.

        Raises :class:`JobError` if the bridge answered without having looked at the job.
        """
        if "job-state" not in response.headers:
            raise unexpected(f"job {self._job_id}", response)
        if not is_open(response):
            return None
        left = self._deadline.left
        waited = self._asked - left
        return 0.0 if waited >= PAUSE else min(PAUSE, left)  # a bridge that is about to leave does not wait


class Reading:
    """A job's events over several connections: what is asked for next, and after what pause."""

    def __init__(self, job_id: str, after: int | None, deadline: Deadline) -> None:
        self.path = path_of(job_id, "/events")
        self._after = after
        self._deadline = deadline
        self._pause = PAUSE

    def options(self) -> dict[str, Any]:
        """Return the options of the next request."""
        headers = {"Accept": "text/event-stream"}
        if self._after is not None:
            headers["Last-Event-ID"] = str(self._after)
        timeout = httpx.Timeout(CONNECT, read=SILENCE)
        return {"headers": headers, "timeout": timeout, "extensions": {"deadline": self._deadline.left}}

    def seen(self, event: Event) -> None:
        """Note an event that the caller has got."""
        if event.id is not None:
            self._after = event.id
        self._pause = PAUSE

    def pause(self) -> float | None:
        """Return how long to wait before the stream is asked for again, in seconds; None: the deadline is over."""
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        return pause if self._deadline.left > pause else None
