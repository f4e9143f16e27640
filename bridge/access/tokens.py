"""JSON Web Tokens: which are taken, and whom they name (RFC 7519; RFC 8725 for what to refuse)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import jwt

from bridge.access.jwks import KeysUnavailableError
from bridge.access.principal import unauthenticated
from bridge.problems import retry_later

if TYPE_CHECKING:
    from bridge.access.jwks import KeySet, VerifyingKey
    from bridge.settings import Jwt

LEEWAY: Final = 10.0  # seconds that the issuer's clock may differ from ours
MAX_TOKEN: Final = 8 * 1024  # bytes
MAX_NAME: Final = 128  # characters
_RSA: Final = ("RS", "PS")


class Tokens:
    """Reads tokens by the rules of ``[jwt]``."""

    def __init__(self, settings: Jwt, keys: KeySet) -> None:
        self.settings = settings
        self._keys = keys

    async def name(self, token: str) -> str:
        """Return what the claim says; raises :class:`Problem` ``unauthenticated`` or ``keys-unavailable``.

        The algorithm is one of the settings', the key is found by its id at the settings' URL only: what the token's
        own head says of keys (``jwk``, ``jku``, ``x5u``, ``x5c``) is not looked at.
        """
        if len(token) > MAX_TOKEN:
            raise unauthenticated("the token is too long")
        try:
            head = jwt.get_unverified_header(token)
            if head.get("alg") not in self.settings.algorithms:
                raise unauthenticated("the token is not signed with an algorithm that is taken here")
            key = await self._keys.key(head.get("kid"))
            if key is None:
                raise unauthenticated("the token is not signed with a key of the issuer")
            claims = self._verified(token, key)
        except KeysUnavailableError:
            raise retry_later("keys-unavailable", "the issuer's keys cannot be had now") from None
        except jwt.ExpiredSignatureError:
            raise unauthenticated("the token has expired") from None
        except jwt.PyJWTError:
            raise unauthenticated("the token is not a valid one for this bridge") from None
        return self._named(claims)

    def _verified(self, token: str, key: VerifyingKey) -> dict[str, Any]:
        settings = self.settings
        algorithms = list(settings.algorithms)
        if not isinstance(key, jwt.PyJWK):  # PyJWT raises a TypeError where it is not of the algorithm's kind
            algorithms = [algorithm for algorithm in algorithms if algorithm.startswith(_RSA)]
        return jwt.decode(
            token,
            key,
            algorithms=algorithms,
            audience=settings.audience,
            issuer=settings.issuer,
            leeway=LEEWAY,
            options={"require": ["exp", "iss", "aud", settings.claim]},
        )

    def _named(self, claims: dict[str, Any]) -> str:
        name = claims[self.settings.claim]
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
            raise unauthenticated(f"the token's {self.settings.claim} is no name of 1 to {MAX_NAME} characters")
        return name
