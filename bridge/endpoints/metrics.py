"""``/-/metrics``: the figures for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from bridge.figures.snapshot import RouteNow

if TYPE_CHECKING:
    from starlette.requests import Request

    from bridge.endpoints.gate import Gate
    from bridge.figures.exposition import Exposition
    from bridge.figures.siblings import Siblings
    from bridge.routing import ServedRoute


def metrics_route(exposition: Exposition, siblings: Siblings | None, gate: Gate) -> Route:
    """Return the page, of all processes if there are several.

    ``gate`` knows the operator, whose key Prometheus sends as ``authorization: credentials``.
    """

    async def metrics(request: Request) -> Response:
        gate.check_admin(request)
        accept = request.headers.get("accept", "")
        if siblings is None:
            text, content_type = exposition.render(accept)
        else:
            text, content_type = exposition.render(accept, await siblings.ask(), siblings.number)
        return Response(text, headers={"cache-control": "no-store", "content-type": content_type})

    return Route("/-/metrics", metrics, methods=["GET"])


def route_now(route: ServedRoute, now: float) -> RouteNow:
    """Return how a route is doing; ``now``: the loop's time, seconds."""
    counts, settings = route.counts, route.settings
    came = next(iter(counts.since.values()), now)
    return RouteNow(
        settings.name, settings.queue, counts.figures, counts.held, settings.max_held, now - came, settings.timeout
    )
