"""Who may see the bridge's own pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.access.principal import ANYBODY, unauthenticated
from bridge.sessions import COOKIE
from bridge.translate import read_head

if TYPE_CHECKING:
    from starlette.requests import Request

    from bridge.access import Access, Principal
    from bridge.admin import AdminKey
    from bridge.sessions import Sessions


class Gate:
    """``access`` knows the callers; who may call may look. ``sessions``: those of the operator's browsers."""

    def __init__(self, admin: AdminKey, access: Access, sessions: Sessions) -> None:
        self._admin = admin
        self._access = access
        self._sessions = sessions

    def check(self, request: Request) -> None:
        """Raise :class:`Problem` ``forbidden`` for whom no page is."""
        self._access.permit(ANYBODY, read_head(request.headers.raw, {}))

    async def caller(self, request: Request) -> Principal:
        """Say who asks; the operator may see what all callers may. Raises :class:`Problem`."""
        self.check(request)
        if self.is_admin(request):
            return ANYBODY
        return await self._access.identify(read_head(request.headers.raw, {}), request.scope)

    def is_admin(self, request: Request) -> bool:
        """Say whether the request holds the admin key, or comes from a page of ours in the operator's browser."""
        if self._admin.opens(request.headers.get("authorization")):
            return True
        if not self._sessions.admits(request.cookies.get(COOKIE)):
            return False
        # The cookie is SameSite=Strict; what changes something must besides say that it comes from a page of ours.
        return request.method in ("GET", "HEAD") or is_own_page(request)

    def check_admin(self, request: Request) -> None:
        """Raise :class:`Problem` ``forbidden`` or ``unauthenticated`` for all but the operator."""
        self.check(request)
        if not self.is_admin(request):
            raise unauthenticated("this page needs the admin key")

    def begin_session(self, request: Request, key: str) -> str | None:
        """Return the cookie of a new session for whoever gives the admin key on our own page; None for others."""
        return self._sessions.make() if is_own_page(request) and self._admin.opens(f"Bearer {key}") else None


def is_own_page(request: Request) -> bool:
    """Say whether a browser says that a page of this origin asks (Fetch Metadata; an older one: Fetch, 3.1)."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin, host = request.headers.get("origin"), request.headers.get("host")
    return origin is not None and host is not None and origin.partition("://")[2] == host
