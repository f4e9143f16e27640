"""The admin key: who may look inside."""

from __future__ import annotations

import hashlib
import hmac


class AdminKey:
    """Knows the key by its SHA-256, as ``[admin] key_sha256`` has it: 64 hex digits; empty: there is none."""

    def __init__(self, key_sha256: str) -> None:
        self._digest = bytes.fromhex(key_sha256)

    def opens(self, authorization: str | None) -> bool:
        """Say whether an ``Authorization`` header holds the key (RFC 6750, 2.1). Takes as long for any key."""
        scheme, _, key = (authorization or "").partition(" ")
        presented = hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).digest()
        same = hmac.compare_digest(presented, self._digest)
        return same and scheme.lower() == "bearer"

    def __repr__(self) -> str:
        return f"<AdminKey {'set' if self._digest else 'none'}>"
