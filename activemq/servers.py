"""Which brokers there are, and how often to try them."""

from __future__ import annotations

import random
import ssl
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

DEFAULT_PORT: Final = 61613


@dataclass(frozen=True, slots=True)
class Server:
    """One broker's address; ``tls`` is the context to use, None for plain TCP."""

    host: str
    port: int = DEFAULT_PORT
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Server:
        """Read ``stomp://host:port`` or ``stomp+ssl://host:port``; raises ValueError saying what is wrong."""
        parts = urlsplit(url)
        if parts.scheme not in ("stomp", "stomp+ssl"):  # not shown whole: it may hold a passcode
            raise ValueError(f"{parts.scheme!r}: must begin with stomp:// or stomp+ssl://")
        if not parts.hostname or "@" in parts.netloc or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("must be stomp://HOST:PORT and nothing else (login and passcode have their own settings)")
        tls = ssl.create_default_context() if parts.scheme == "stomp+ssl" else None
        return cls(parts.hostname, parts.port or DEFAULT_PORT, tls)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after the nth failed round of attempts, in seconds: doubling, capped, at random.

    The cap is low: a bridge has to be well within a second of its broker (docs/performance.md), and a refused
    connection attempt costs next to nothing.
    """

    first: float = 0.05
    cap: float = 0.8

    def delay(self, failures: int) -> float:
        """``failures`` counts from 1. Between half of the step and the whole of it, so that many do not march."""
        step = min(self.cap, self.first * (1 << min(failures - 1, 16)))
        return step * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
