"""Who may see the bridge's own pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.access.principal import ANYBODY, unauthenticated
from bridge.translate import read_head

if TYPE_CHECKING:
    from starlette.requests import Request

    from bridge.access import Access, Principal
    from bridge.admin import AdminKey


class Gate:
    """``access`` knows the callers; who may call may look."""

    def __init__(self, admin: AdminKey, access: Access) -> None:
        self._admin = admin
        self._access = access

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
        """Say whether the request holds the admin key."""
        return self._admin.opens(request.headers.get("authorization"))

    def check_admin(self, request: Request) -> None:
        """Raise :class:`Problem` ``forbidden`` or ``unauthenticated`` for all but the operator."""
        self.check(request)
        if not self.is_admin(request):
            raise unauthenticated("this page needs the admin key")
