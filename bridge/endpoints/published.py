"""``/openapi.json`` and ``/docs``: what the route table says, made when somebody asks."""

from __future__ import annotations

import json
import re
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from starlette.responses import Response
from starlette.routing import Route

from bridge.openapi import BASE, content_security_policy, make_document, make_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from bridge.access import Principal
    from bridge.endpoints.gate import Gate
    from bridge.settings import Settings

PATHS: Final = frozenset({"/openapi.json", "/docs"})
_HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")


class Published:
    """What is told of the routes of some settings; new settings make a new one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._for: dict[frozenset[str] | None, Published] = {}

    def of(self, principal: Principal) -> Published:
        """Return what is told to this caller: of its own routes only."""
        routes = principal.routes
        if routes is None:
            return self
        known = self._for.get(routes)
        if known is None:
            own = tuple(route for route in self._settings.routes if route.name in routes)
            known = self._for[routes] = Published(self._settings.model_copy(update={"routes": own}))
        return known

    @cached_property
    def document(self) -> bytes:
        """The OpenAPI document as JSON."""
        made = make_document(self._settings, version("activemq-rest-bridge"))
        return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()

    @cached_property
    def page(self) -> str:
        """The page, with :data:`bridge.openapi.BASE` where its address belongs."""
        return make_page(json.loads(self.document))


def published_routes(published: Callable[[], Published], gate: Gate) -> list[Route]:
    """Return the pages; ``gate`` says for whom they are."""

    async def openapi(request: Request) -> Response:
        principal = await gate.caller(request)
        return Response(published().of(principal).document, headers=_HEADERS, media_type="application/json")

    async def docs(request: Request) -> Response:
        principal = await gate.caller(request)
        page = published().of(principal).page.replace(BASE, _address(request))
        headers = {**_HEADERS, "content-security-policy": content_security_policy(), "referrer-policy": "no-referrer"}
        return Response(page, headers=headers, media_type="text/html")

    return [Route("/openapi.json", openapi, methods=["GET"]), Route("/docs", docs, methods=["GET"])]


def _address(request: Request) -> str:
    """Return where the reader has found us. It goes into a page and into commands: only what a Host can be."""
    host = request.headers.get("host", "")
    return f"{request.url.scheme}://{host}" if _HOST.fullmatch(host) else "http://127.0.0.1"
