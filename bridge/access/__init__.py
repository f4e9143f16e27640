"""Who calls, and what they may: authentication, routes, caps and rates (docs/http.md, "Who may call")."""

from bridge.access.access import Access
from bridge.access.principal import ANYBODY, Principal

__all__ = ["ANYBODY", "Access", "Principal"]
