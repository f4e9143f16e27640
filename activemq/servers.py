"""Which brokers there are, and how often to try them."""

from __future__ import annotations

import random
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_PORT: Final = 61613


@dataclass(frozen=True, slots=True)
class Server:
    """One broker's address; ``tls`` is the context to use, None for plain TCP."""

    host: str
    port: int = DEFAULT_PORT
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str, tls: ssl.SSLContext | None = None) -> Server:
        """Read ``stomp://host:port`` or ``stomp+ssl://host:port``; raises ValueError saying what is wrong.

        ``tls``: the context for stomp+ssl; None: :func:`tls_context`'s.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("stomp", "stomp+ssl"):  # not shown whole: it may hold a passcode
            raise ValueError(f"{parts.scheme!r}: must begin with stomp:// or stomp+ssl://")
        if not parts.hostname or "@" in parts.netloc or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("must be stomp://HOST:PORT and nothing else (login and passcode have their own settings)")
        context = (tls or tls_context()) if parts.scheme == "stomp+ssl" else None
        return cls(parts.hostname, parts.port or DEFAULT_PORT, context)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def tls_context(ca: Path | None = None, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """Return how brokers are trusted, and who we are to them; all are PEM files.

    ``ca``: the authority that signed the broker's certificate, None: those the system trusts; ``certificate`` (with
    its chain) and ``key`` (without a password): our own, for a broker that asks for one. Raises OSError, of which
    :class:`ssl.SSLError` is a kind.
    """
    context = ssl.create_default_context(cafile=str(ca) if ca else None)
    if certificate is not None:
        context.load_cert_chain(certificate, key, _no_password)
    return context


def _no_password() -> str:
    """Stand for the question that OpenSSL would ask at the terminal, where a service would hang."""
    return ""


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
