"""Jobs and answers as tests want them."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from bridge.jobs.model import Failure, Job, NewJob, Reply, Request, Rules, Settlement, State, key_of

NOW = 1_800_000_000_000
HOUR = 3_600_000
DAY = 24 * HOUR


def new_job(
    owner: str = "bridge-1", lease_ms: int = NOW + 10_000, request: Request | None = None, **job: Any
) -> NewJob:
    """A job that nobody has sent yet; keywords go into :class:`Job`."""
    values: dict[str, Any] = {
        "id": secrets.token_hex(16),
        "caller": "",
        "route": "echo",
        "path": "/echo",
        "rules": Rules(1_000, (("http_header_etag", "etag"),)),
        "created_ms": NOW,
        "deadline_ms": NOW + HOUR,
        "retention_ms": DAY,
    }
    request = request or Request("echo", 4, (("attempt", "1"),), b"body")
    return NewJob(Job(**values | job), request, owner, lease_ms)


def keyed(key: bytes = b"k", body: bytes = b"", **job: Any) -> NewJob:
    return new_job(key=key_of(key, "POST", "/echo", body), **job)


DONE = Settlement(State.DONE, Reply(200, (("content-type", "text/plain"),), b"answer", 1.5, None), 1)
FAILED = Settlement(State.FAILED, Failure("worker-failed", "it failed", "yes", {"a": [1]}))
REFUSED = Settlement(State.REFUSED, Failure("queue-full", "full", "no", retry_after="1"))


def becomes(settlement: Settlement):
    """A judge that always says the same."""
    return lambda job: replace(settlement)
