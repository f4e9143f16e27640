"""`/-/api/dlq`: what operators see of dead letters and do with them (docs/dead-letters.md)."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bridge.deadletters.office import MOST_ON_A_PAGE
from bridge.endpoints.job_answers import document_of, location_of, state_header
from bridge.translate import invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from bridge.deadletters.office import DeadLetters, Opened
    from bridge.endpoints.gate import Gate

_AT: Final = "/-/api/dlq"
_USUAL_PAGE: Final = 50
_NO_STORE: Final = {"cache-control": "no-store"}


def dead_letter_routes(office: Callable[[], DeadLetters], gate: Gate, public_url: str) -> list[Route]:
    """Return the pages. ``gate`` knows the operator; ``office`` raises :class:`Problem` while there is none.

    The key comes in a header that no web page of another site can set, and there are no cookies: no form that is sent
    from somewhere can do anything here.
    """

    async def listing(request: Request) -> Response:
        gate.check_admin(request)
        queue = request.query_params.get("queue")
        if queue is None:
            return _json({"queues": [asdict(shelf) for shelf in await office().shelves()]})
        page = await office().page(queue, request.query_params.get("after"), _limit_of(request))
        letters = [letter.document() for letter in page.letters]
        return _json({"queue": queue, "now_ms": page.now_ms, "letters": letters, "next": page.next})

    async def one(request: Request) -> Response:
        gate.check_admin(request)
        letter_id = request.path_params["id"]
        if request.method == "DELETE":
            await office().drop(letter_id)
            return Response(status_code=204, headers=_NO_STORE)
        return _json(_opened(await office().open(letter_id)))

    async def replay(request: Request) -> Response:
        gate.check_admin(request)
        letter_id = request.path_params["id"]
        replayed = await office().replay(letter_id)
        job = replayed.job
        document = {"id": letter_id, "removed": replayed.removed, "job": json.loads(document_of(job, public_url))}
        name, state = state_header(job)
        headers = {"location": location_of(job.id, public_url).decode(), name.decode(): state.decode()}
        return _json(document, 202, headers)

    return [
        Route(_AT, listing, methods=["GET"]),
        Route(f"{_AT}/{{id}}/replay", replay, methods=["POST"]),
        Route(f"{_AT}/{{id}}", one, methods=["GET", "DELETE"]),
    ]


def _json(document: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(document, status, {**_NO_STORE, **(headers or {})})


def _limit_of(request: Request) -> int:
    value = request.query_params.get("limit", str(_USUAL_PAGE))
    if value.isascii() and value.isdigit() and len(value) < 5 and 1 <= int(value) <= MOST_ON_A_PAGE:
        return int(value)
    raise invalid("limit", f"must be 1 to {MOST_ON_A_PAGE}")


def _opened(opened: Opened) -> dict[str, Any]:
    document = opened.letter.document() | {"headers": opened.headers}
    body = opened.body
    if body is None:
        return document | {"body": None}
    try:
        return document | {"body": body.decode()}
    except UnicodeDecodeError:
        return document | {"body_base64": base64.b64encode(body).decode()}
