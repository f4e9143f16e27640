"""Times as the outside sees them."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(epoch_ms: int | None) -> str | None:
    """Return an epoch in ms as RFC 3339 in UTC, to the millisecond; None stays None."""
    if epoch_ms is None:
        return None
    return datetime.fromtimestamp(epoch_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
