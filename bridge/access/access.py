"""The one place that decides who a request is from, and whether that one may."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from bridge.access.principal import ANYBODY, Principal, unauthenticated
from bridge.certificates import subject_of_certificate, subject_of_name
from bridge.problems import Problem
from bridge.translate import check_open_bridge, comes_from_elsewhere

if TYPE_CHECKING:
    from bridge.access.tokens import Tokens
    from bridge.asgi import Scope
    from bridge.certificates import Subject
    from bridge.settings import Settings
    from bridge.translate import Head

# Callers that are known by their tokens only. Beyond it the one is forgotten that has not called for the longest time
# and holds nothing: it begins with a whole rate again.
MOST_BY_TOKEN: Final = 10_000
CERTIFICATE: Final = "client_certificate"  # of ASGI's state: DER, verified by TLS


class Access:
    """Knows the callers of the settings. With none at all everybody on this machine may call everything."""

    def __init__(self, settings: Settings) -> None:
        self._origins = frozenset(origin.encode() for origin in settings.cors.origins)
        self._tokens = _tokens(settings)
        self._callers: dict[str, Principal] = {}
        self._by_token: OrderedDict[str, Principal] = OrderedDict()
        self.renew(settings)

    def renew(self, settings: Settings) -> None:
        """Know other callers from now on; one of the same name goes on holding what it holds."""
        self._open = not settings.callers and settings.jwt is None
        self._guarded = self._open and not settings.server.allow_anonymous
        before = self._callers
        self._callers = {}
        self._by_key: dict[bytes, Principal] = {}
        self._by_subject: dict[Subject, Principal] = {}
        self._by_name: dict[str, Principal] = {}
        for caller in settings.callers:
            principal = before.get(caller.name) or Principal(caller.name, ())
            principal.renew(caller.routes, caller.max_held, caller.rate)
            self._callers[caller.name] = principal
            if caller.key_sha256:
                self._by_key[bytes.fromhex(caller.key_sha256)] = principal
            if caller.certificate_subject:
                self._by_subject[subject_of_name(caller.certificate_subject)] = principal
            if caller.jwt:
                self._by_name[caller.name] = principal

    @property
    def asks(self) -> bool:
        """Whether callers have to say who they are."""
        return not self._open

    def known(self, name: str) -> Principal:
        """Return the caller of this name in the settings; raises KeyError."""
        return self._callers[name]

    def held(self) -> list[tuple[str, int]]:
        """Return the name and the number of held calls of each caller of the settings."""
        return [(name, principal.held) for name, principal in self._callers.items()]

    async def identify(self, head: Head, scope: Scope) -> Principal:
        """Say who calls. Raises :class:`Problem` ``unauthenticated`` or ``keys-unavailable``."""
        if self._open:
            return ANYBODY
        if head.authorization is not None:
            return await self._by_credential(head.authorization)
        certificate = scope.get("state", {}).get(CERTIFICATE)
        principal = None if certificate is None else self._by_subject.get(subject_of_certificate(certificate))
        if principal is None:
            raise unauthenticated("this bridge takes a key or a token as `Authorization: Bearer …`")
        if (comes_from_elsewhere(head) or head.fetched_from == b"same-site") and head.origin not in self._origins:
            # The browser shows the certificate to whatever page it has open, as it would a cookie.
            raise Problem("forbidden", "a page of another site may not use your certificate")
        return principal

    async def _by_credential(self, authorization: bytes) -> Principal:
        scheme, _, credential = authorization.partition(b" ")
        credential = credential.strip()
        if scheme.lower() != b"bearer" or not credential:
            raise unauthenticated("the credential must be `Authorization: Bearer …`")
        # Looked up by its hash: how long that takes tells nothing of any key, which would have to be guessed whole.
        principal = self._by_key.get(hashlib.sha256(credential).digest())
        if principal is not None:
            return principal
        if self._tokens is not None and credential.count(b".") == 2:
            return self._of_token(await self._tokens.name(credential.decode("latin-1")), self._tokens)
        raise unauthenticated("the key is not one of this bridge")

    def _of_token(self, name: str, tokens: Tokens) -> Principal:
        principal = self._by_name.get(name)
        if principal is not None:
            return principal
        settings = tokens.settings
        name = f"jwt:{settings.issuer}:{name}"
        principal = self._by_token.pop(name, None) or Principal(name, settings.routes, settings.max_held, settings.rate)
        self._by_token[name] = principal
        if len(self._by_token) > MOST_BY_TOKEN:
            self._forget_one(principal)
        return principal

    def _forget_one(self, newest: Principal) -> None:
        """Forget one that holds nothing; if all do, they are no more than the calls that the bridge may hold."""
        others = self._by_token.items()
        idle = next((name for name, principal in others if not principal.held and principal is not newest), None)
        if idle is not None:
            del self._by_token[idle]

    def permit(self, principal: Principal, head: Head, route: str | None = None) -> None:
        """Raise :class:`Problem` ``forbidden`` for a route that is not the caller's, and from whom we take nothing."""
        if self._guarded:
            check_open_bridge(head, self._origins)
        elif route is not None and not principal.may_call(route):
            raise Problem("forbidden", f"{principal.name} may not call this route")


def _tokens(settings: Settings) -> Tokens | None:
    if settings.jwt is None:
        return None
    from bridge.access.jwks import KeySet, fetch_over_http  # noqa: PLC0415 - an HTTP client that most do not need
    from bridge.access.tokens import Tokens  # noqa: PLC0415 - as above

    keys = KeySet(fetch_over_http(settings.jwt.jwks_url), lambda: asyncio.get_running_loop().time())
    return Tokens(settings.jwt, keys)
