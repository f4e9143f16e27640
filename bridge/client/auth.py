"""A caller's key with each request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Generator


class BearerKey(httpx.Auth):
    """Sends ``Authorization: Bearer KEY``. A key in a file is read anew when the bridge does not know the old one."""

    def __init__(self, key: str | Path) -> None:
        """``key``: the key, or as a Path the file that holds it on one line.

        Raises OSError for a file that cannot be read, ValueError for a key that is empty or has other characters than
        visible ASCII.
        """
        self._file = key if isinstance(key, Path) else None
        self._key = _checked(key if isinstance(key, str) else key.read_text("utf-8"))

    def __repr__(self) -> str:
        return f"BearerKey({str(self._file)!r})" if self._file else "BearerKey(…)"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send the request; once more if the file holds another key by now: a 401 has run nothing."""
        used = self._key
        request.headers["authorization"] = f"Bearer {used}"
        response = yield request
        if response.status_code != httpx.codes.UNAUTHORIZED or self._file is None:
            return
        try:
            self._key = _checked(self._file.read_text("utf-8"))
        except (OSError, ValueError):  # it is being written: the 401 stands, and the next one looks again
            return
        if self._key != used:
            request.headers["authorization"] = f"Bearer {self._key}"
            yield request


def _checked(key: str) -> str:
    key = key.strip()
    if not key or not all("!" <= character <= "~" for character in key):
        raise ValueError("a key is one line of visible ASCII")
    return key
