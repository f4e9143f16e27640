"""``/-/dashboard``: the page, its files, its feed, and the session that opens it."""

from __future__ import annotations

import asyncio
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from bridge.endpoints.gate import is_own_page
from bridge.problems import Problem, retry_later
from bridge.sessions import COOKIE, LASTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request

    from bridge.endpoints.gate import Gate

EVERY: Final = 1.0  # seconds between two looks
AT_MOST: Final = 20  # pages that look at a time
_ASSETS: Final = {
    "dashboard.css": "text/css; charset=utf-8",
    "dashboard.js": "text/javascript; charset=utf-8",
    "uPlot.iife.min.js": "text/javascript; charset=utf-8",
    "uPlot.min.css": "text/css; charset=utf-8",
}
# Nothing from anywhere else, and no script or style but our files; nobody may frame it.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": _POLICY,
    "referrer-policy": "same-origin",  # with none a browser says "Origin: null" of our own form
    "x-content-type-options": "nosniff",
}
_CHALLENGE: Final = {**_HEADERS, "www-authenticate": "Bearer"}
_LONGEST_FORM: Final = 4_096  # bytes
_FORM_WITHIN: Final = 10.0  # seconds


class Dashboard:
    """The pages. ``look`` says how things are, ``draining`` when those who look on have to go."""

    def __init__(self, look: Callable[[], dict[str, Any]], draining: Callable[[], bool], gate: Gate) -> None:
        self._look = look
        self._draining = draining
        self._gate = gate
        self._watching = 0

    def routes(self) -> list[Route]:
        """Return where they are."""
        return [
            Route("/-/dashboard", self._page, methods=["GET"]),
            Route("/-/dashboard/feed", self._feed, methods=["GET"]),
            Route("/-/dashboard/login", self._log_in, methods=["POST"]),
            Route("/-/dashboard/logout", self._log_out, methods=["POST"]),
            Route("/-/dashboard/assets/{name}", self._asset, methods=["GET"]),
        ]

    async def _page(self, request: Request) -> Response:
        self._gate.check(request)
        if not self._gate.is_admin(request):
            return HTMLResponse(_file("login.html"), 401, _CHALLENGE)
        return HTMLResponse(_file("dashboard.html"), headers=_HEADERS)

    async def _asset(self, request: Request) -> Response:
        self._gate.check(request)
        name = request.path_params["name"]
        if name not in _ASSETS:
            raise Problem("no-route", "the bridge has no such page")
        headers = {"content-type": _ASSETS[name], "cache-control": "no-cache", "x-content-type-options": "nosniff"}
        return Response(_file(name), headers=headers)

    async def _log_in(self, request: Request) -> Response:
        self._gate.check(request)
        key = await _key_of(request) if is_own_page(request) else ""
        cookie = self._gate.begin_session(request, key)
        if cookie is None:
            return HTMLResponse(_file("login.html").replace(b" hidden", b"", 1), 401, _CHALLENGE)
        answer = RedirectResponse("/-/dashboard", 303, _HEADERS)
        answer.set_cookie(
            COOKIE,
            cookie,
            max_age=LASTS,
            path="/-/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    async def _log_out(self, request: Request) -> Response:
        self._gate.check_admin(request)  # no other site's form does it
        answer = RedirectResponse("/-/dashboard", 303, _HEADERS)
        answer.delete_cookie(COOKIE, path="/-/")
        return answer

    async def _feed(self, request: Request) -> Response:
        self._gate.check_admin(request)
        if self._watching >= AT_MOST:
            raise retry_later("bridge-full", f"{self._watching} pages look on already", after=60)
        return StreamingResponse(self._events(), headers=_HEADERS, media_type="text/event-stream")

    async def _events(self) -> AsyncIterator[bytes]:
        self._watching += 1
        try:
            while not self._draining():
                yield b"data: %b\n\n" % json.dumps(self._look(), separators=(",", ":")).encode()
                await asyncio.sleep(EVERY)
        finally:
            self._watching -= 1


def _file(name: str) -> bytes:
    return files("bridge.dashboard").joinpath("assets", name).read_bytes()


async def _key_of(request: Request) -> str:
    """Return the key in a posted form; empty if there is none, or it does not come."""
    form = bytearray()
    try:
        async with asyncio.timeout(_FORM_WITHIN):
            async for chunk in request.stream():
                form += chunk
                if len(form) > _LONGEST_FORM:
                    return ""
    except (TimeoutError, ClientDisconnect):
        return ""
    fields = parse_qs(form.decode("latin-1"))
    return fields.get("key", [""])[0]
