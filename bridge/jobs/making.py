"""A job as its route wants it: what is the same whether a caller or an operator makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.jobs.model import Job, Key, Rules

if TYPE_CHECKING:
    from bridge.routing import ServedRoute
    from bridge.settings import Route


def new_job(
    route: ServedRoute, job_id: str, *, caller: str, path: str, now_ms: int, retention_ms: int, key: Key | None
) -> Job:
    """Return a job that nobody has sent yet; ``path`` is the one that was called, ``now_ms`` the broker's time."""
    settings = route.settings
    return Job(
        id=job_id,
        caller=caller,
        route=settings.name,
        path=path,
        rules=Rules(settings.max_reply, tuple((name, header.decode()) for name, header in route.returns)),
        created_ms=now_ms,
        deadline_ms=now_ms + round(settings.job_timeout * 1_000),
        retention_ms=retention_ms,
        key=key,
    )


def own_properties(settings: Route) -> tuple[tuple[str, str], ...]:
    """Return the properties of a job's first message that are the bridge's word, not its caller's."""
    return (
        ("attempt", "1"),
        ("max_attempts", str(settings.max_attempts)),
        ("redeliver", "true" if settings.redeliver else "false"),
        ("max_reply", str(settings.max_reply)),
    )
