"""The operator's session in a browser, which cannot send a key with every page it opens.

A cookie that says until when it holds, signed with a secret that only this bridge has. Nothing is kept here: it
serves as many processes as share the secret, and ends with them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

COOKIE: Final = "mqbridge_session"
LASTS: Final = 12 * 3_600  # seconds
SECRET_BYTES: Final = 32
_COOKIE: Final = re.compile(r"(?P<until>[0-9]{1,12})\.(?P<mac>[0-9a-f]{64})")


class Sessions:
    """Makes and knows cookies. ``secret``: :data:`SECRET_BYTES` random bytes; ``now``: epoch seconds."""

    def __init__(self, secret: bytes, now: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._now = now

    def make(self) -> str:
        """Return the value of a new session's cookie."""
        until = str(int(self._now()) + LASTS)
        return f"{until}.{self._mac(until)}"

    def admits(self, cookie: str | None) -> bool:
        """Say whether a cookie is one of ours and still holds."""
        match = _COOKIE.fullmatch(cookie or "")
        if match is None:
            return False
        ours = hmac.compare_digest(match["mac"], self._mac(match["until"]))
        return ours and int(match["until"]) > self._now()

    def _mac(self, until: str) -> str:
        return hmac.new(self._secret, b"mqbridge session " + until.encode(), hashlib.sha256).hexdigest()

    def __repr__(self) -> str:
        return "<Sessions>"
