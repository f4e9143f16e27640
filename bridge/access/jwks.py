"""The issuer's public keys: fetched when a token needs one, kept, and fetched again as they change."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any, Final

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Fetch = Callable[[], Awaitable[Any]]

log = logging.getLogger(__name__)

FRESH: Final = 300.0  # seconds that keys are taken without another look
STALE: Final = 3_600.0  # seconds that they are taken while the issuer does not answer: then a withdrawn key is out
APART: Final = 10.0  # seconds between two fetches: a made-up key id must not become a load on the issuer
TIMEOUT: Final = 5.0  # seconds
MAX_BYTES: Final = 1 << 20
_ASYMMETRIC: Final = frozenset({"RSA", "EC", "OKP"})


# An RSA key that names no algorithm (RFC 7517, 4.4: it need not) is for every one of RSA that the settings take, where
# PyJWT's own class would say RS256 of it. The curve of another key says which it is for.
VerifyingKey = jwt.PyJWK | RSAPublicKey


class KeysUnavailableError(Exception):
    """The issuer's keys cannot be had, so no token can be judged."""


class KeySet:
    """Keys by their id. ``fetch`` returns the JWK Set (RFC 7517, 5); ``now``: seconds, rising."""

    def __init__(self, fetch: Fetch, now: Callable[[], float]) -> None:
        self._fetch = fetch
        self._now = now
        self._keys: dict[str | None, VerifyingKey] = {}
        self._fetched: float | None = None  # when the keys came
        self._tried: float | None = None  # when they were last asked for
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, key_id: str | None) -> VerifyingKey | None:
        """Return the key of this id, or the only one if the token names none; None if there is no such key.

        Raises :class:`KeysUnavailableError`.
        """
        found = self._find(key_id)
        if found is None or self._age() >= FRESH:
            fetching = self._refresh()
            if found is None and fetching is not None:
                await asyncio.shield(fetching)
                found = self._find(key_id)
        if found is None and self._age() >= STALE:
            raise KeysUnavailableError
        return found

    def _find(self, key_id: str | None) -> VerifyingKey | None:
        if self._age() >= STALE:
            return None
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    def _age(self) -> float:
        return STALE if self._fetched is None else self._now() - self._fetched

    def _refresh(self) -> asyncio.Task[None] | None:
        """Return the fetch that is under way, or begin one if the last is long enough ago."""
        if self._fetching is None and (self._tried is None or self._now() - self._tried >= APART):
            self._tried = self._now()
            self._fetching = asyncio.create_task(self._load(), name="JWKS")
        return self._fetching

    async def _load(self) -> None:
        try:
            self._keys = usable_keys(await self._fetch())
            self._fetched = self._now()
        except (httpx.HTTPError, OSError, ValueError) as error:
            log.warning("the issuer's keys could not be fetched: %s", error or type(error).__name__)
        except Exception:
            log.exception("the issuer's keys could not be read: a defect of the bridge")
        finally:
            self._fetching = None


def usable_keys(document: Any) -> dict[str | None, VerifyingKey]:  # noqa: ANN401 - it is JSON
    """Return the asymmetric signature keys of a JWK Set by their id. Raises ValueError if it is none."""
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("the document at jwks_url is no JWK Set")  # noqa: TRY004 - of JSON, not of our types
    keys: dict[str | None, VerifyingKey] = {}
    for entry in entries:
        if not isinstance(entry, dict) or not _is_of_signatures(entry):
            continue
        try:
            key = jwt.PyJWK(entry)
        except (jwt.PyJWTError, NotImplementedError, TypeError, ValueError) as error:
            # One that we cannot use must not keep the others from being used.
            log.warning("a key of the issuer cannot be used: %s", error)
            continue
        keys[key.key_id] = key.key if isinstance(key.key, RSAPublicKey) and entry.get("alg") is None else key
    return keys


def _is_of_signatures(entry: dict[str, Any]) -> bool:
    told = [entry.get(name) for name in ("kty", "kid", "alg")]
    if not all(value is None or isinstance(value, str) for value in told):
        return False
    return entry.get("kty") in _ASYMMETRIC and entry.get("use", "sig") == "sig"


def fetch_over_http(url: str) -> Fetch:
    """Return what fetches ``url``: no redirects, at most :data:`MAX_BYTES` bytes, within :data:`TIMEOUT`."""

    async def fetch() -> Any:  # noqa: ANN401 - it is JSON
        async with (
            asyncio.timeout(TIMEOUT),
            httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client,
            client.stream("GET", url, headers={"accept": "application/json"}) as response,
        ):
            response.raise_for_status()
            data = bytearray()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > MAX_BYTES:
                    raise ValueError(f"the document at jwks_url is over {MAX_BYTES} bytes")
            return json.loads(bytes(data))

    return fetch
