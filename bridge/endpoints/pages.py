"""The bridge's own pages: is it alive, is it ready, what a problem means."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from bridge.problems import CONTENT_TYPE, TABLE, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from starlette.exceptions import HTTPException
    from starlette.requests import Request

    from bridge.endpoints.gate import Gate

PREFIXES = ("/-/", "/problems/")  # and published.PATHS
_CODE: Final = re.compile(r"`([^`]+)`")
_NO_STORE = {"cache-control": "no-store"}
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<style>:root{{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}}
body{{max-width:42rem;margin:3rem auto;padding:0 1rem}}
h1{{font-size:1.4rem}}dt{{font-weight:600;margin-top:1rem}}dd{{margin:0}}code{{font-family:ui-monospace,monospace}}</style>
<h1>{status} {title}</h1>
<dl><dt>Name</dt><dd><code>{name}</code></dd>
<dt>What to do</dt><dd>{meaning}</dd>
<dt>Did the work run?</dt><dd>{ran}</dd></dl>
"""
_RAN = {
    "no": "No: the same request can be sent again without doing the work twice.",
    "maybe": "Maybe: sending it again may do the work twice.",
    "yes": "Yes: a worker had it.",
}


def make_pages(
    new_id: Callable[[], str],
    ready: Callable[[], bool],
    status: Callable[[], dict[str, Any]],
    gate: Gate,
    public_url: str,
    others: Iterable[Route] = (),
) -> Starlette:
    """Return their application.

    ``new_id`` makes correlation ids, ``ready`` says if calls can be served, ``status`` what the bridge does, for whom
    ``gate`` takes for the operator; ``others`` are pages from elsewhere, which raise :class:`Problem` as these do.
    """

    async def live(request: Request) -> Response:
        gate.check(request)
        return JSONResponse({"live": True}, headers=_NO_STORE)

    async def readiness(request: Request) -> Response:
        gate.check(request)
        is_ready = ready()
        details = status() if gate.is_admin(request) else {}
        return JSONResponse(details | {"ready": is_ready}, 200 if is_ready else 503, headers=_NO_STORE)

    async def status_page(request: Request) -> Response:
        gate.check_admin(request)
        return JSONResponse(status(), headers=_NO_STORE)

    async def problem_page(request: Request) -> Response:
        gate.check(request)
        name = request.path_params["name"]
        row = TABLE.get(name)
        if row is None:
            raise Problem("no-route", "there is no problem of this name")
        page = _PAGE.format(
            name=name,
            status=row.status,
            title=escape(row.title),
            meaning=_CODE.sub(r"<code>\1</code>", escape(row.meaning)),
            ran=_RAN[row.ran] if row.ran else "This is not about a call.",
        )
        return HTMLResponse(page)

    async def refused(request: Request, error: Exception) -> Response:
        problem = error if isinstance(error, Problem) else _problem_of(error)
        return _answer(request, problem, new_id(), public_url)

    pages = Starlette(
        routes=[
            Route("/-/live", live, methods=["GET"]),
            Route("/-/ready", readiness, methods=["GET"]),
            Route("/-/api/status", status_page, methods=["GET"]),
            Route("/problems/{name}", problem_page, methods=["GET"]),
            *others,
        ],
        exception_handlers={404: refused, 405: refused, Problem: refused},
    )
    pages.router.redirect_slashes = False  # it would answer any Host, before the gate is asked
    return pages


def _problem_of(error: Exception | HTTPException) -> Problem:
    if getattr(error, "status_code", 404) == 405:
        headers = getattr(error, "headers", None) or {}
        allow = ", ".join(sorted(headers.get("Allow", "GET").split(", ")))  # Starlette has them in a set
        return Problem("method-not-allowed", f"this page takes {allow}", headers=((b"allow", allow.encode()),))
    return Problem("no-route", "the bridge has no such page")


def _answer(request: Request, problem: Problem, correlation_id: str, public_url: str) -> Response:
    body = problem.body(request.scope["raw_path"].decode("latin-1"), correlation_id, public_url)
    headers = {name.decode(): value.decode() for name, value in problem.headers}
    headers |= {"correlation-id": correlation_id, **_NO_STORE}
    return Response(body, problem.row.status, headers, media_type=CONTENT_TYPE)
