"""Who may see the bridge's own pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bridge.problems import Problem
from bridge.translate import check_open_bridge, read_head

if TYPE_CHECKING:
    from starlette.requests import Request

    from bridge.admin import AdminKey

_CHALLENGE: Final = ((b"www-authenticate", b"Bearer"),)


class Gate:
    """``guarded``: only this machine may look, as only it may call (docs/http.md)."""

    def __init__(self, admin: AdminKey, *, guarded: bool) -> None:
        self._admin = admin
        self._guarded = guarded

    def check(self, request: Request) -> None:
        """Raise :class:`Problem` ``forbidden`` for whom no page is."""
        if self._guarded:
            check_open_bridge(read_head(request.headers.raw, {}))

    def is_admin(self, request: Request) -> bool:
        """Say whether the request holds the admin key."""
        return self._admin.opens(request.headers.get("authorization"))

    def check_admin(self, request: Request) -> None:
        """Raise :class:`Problem` ``forbidden`` or ``unauthenticated`` for all but the operator."""
        self.check(request)
        if not self.is_admin(request):
            raise Problem("unauthenticated", "this page needs the admin key", headers=_CHALLENGE)
