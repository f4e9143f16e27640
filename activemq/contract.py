"""What both sides of the message contract (docs/messages.md) hold to, and what HTTP demands of both. Values only."""

from __future__ import annotations

import re
from typing import Final

CANCEL_TOPIC: Final = "bridge.cancel"
"""Bridges say on it that a call is over; workers read it."""

CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What no HTTP header's value may hold (RFC 9110, 5.5): a line feed would begin another header."""

NO_BODY: Final = frozenset({204, 205, 304})
"""Statuses whose answers have no body (RFC 9110, 15.3.5, 15.3.6, 15.4.5)."""

HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that belong to one connection and end with it (RFC 9110, 7.6.1)."""
