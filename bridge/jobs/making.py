"""A job as its route wants it: what is the same whether a caller or an operator makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.jobs.model import Job, Key, Rules
from bridge.link import STARTED_AFTER_MS

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
        rules=rules_of(route),
        created_ms=now_ms,
        deadline_ms=now_ms + round(settings.job_timeout * 1_000),
        retention_ms=retention_ms,
        key=key,
    )


def rules_of(route: ServedRoute) -> Rules:
    """Return what holds for the replies of a route's jobs."""
    settings = route.settings
    kinds: tuple[str, ...] = () if settings.started == "never" else ("started",)
    if settings.stream:  # whoever reads its events may come at any time
        kinds += ("progress", "chunk")
    returns = tuple((name, header.decode()) for name, header in route.returns)
    return Rules(settings.max_reply, returns, kinds, settings.started == "always")


def own_properties(settings: Route, rules: Rules) -> tuple[tuple[str, str], ...]:
    """Return the properties of a job's first message that are the bridge's word, not its caller's."""
    own = [
        ("attempt", "1"),
        ("max_attempts", str(settings.max_attempts)),
        ("redeliver", "true" if settings.redeliver else "false"),
        ("max_reply", str(settings.max_reply)),
    ]
    if rules.kinds:
        own.append(("reply_kinds", " ".join(rules.kinds)))
    if "started" in rules.kinds and not rules.tells:
        own.append(("started_after_ms", STARTED_AFTER_MS))
    return tuple(own)
