"""Which header names a route may let through. Pure checks."""

import re

from activemq.contract import HOP_BY_HOP

from .faults import show

_NAME = re.compile(r"[a-z0-9-]+")

CREDENTIALS = frozenset({"authorization", "cookie", "set-cookie"})
FRAMING = frozenset({"content-length", "transfer-encoding"})
BRIDGE_SET = frozenset(
    {
        "content-type",
        "correlation-id",
        "date",
        "idempotency-key",
        "idempotency-replayed",
        "job-state",
        "preference-applied",
        "server",
        "server-timing",
        "traceparent",
        "tracestate",
    }
)
"""These have a place of their own in the message or in the answer."""
CORS_PREFIX = "access-control-"


def check_passed_header(name: str) -> str:
    """`name` unchanged if a pass-list may hold it; ValueError says why not."""
    lower = name.lower()
    if lower in CREDENTIALS:
        raise ValueError(f"must not let {show(name)} through: it carries credentials")
    if lower in FRAMING:
        raise ValueError(f"must not let {show(name)} through: it frames the body")
    if lower in HOP_BY_HOP:
        raise ValueError(f"must not let {show(name)} through: it ends at each hop")
    if lower in BRIDGE_SET or lower.startswith(CORS_PREFIX):
        raise ValueError(f"must not let {show(name)} through: the bridge itself sets it")
    if not _NAME.fullmatch(name):
        hint = f": write {show(lower)}" if _NAME.fullmatch(lower) else ""
        raise ValueError(f"{show(name)} is not a header name in a-z, 0-9 and -{hint}")
    return name
