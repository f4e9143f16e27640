"""Which web pages may call (Fetch, 3.2): Starlette's middleware with what our contract has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.middleware.cors import CORSMiddleware

from bridge.settings.fields import METHODS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.asgi import Receive, Scope, Send
    from bridge.settings import Settings

    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

REMEMBERED_FOR: Final = 600  # seconds that a browser need not ask again
# What a page may send and may see, besides what each route lets pass.
_SENDS: Final = (
    "authorization", "content-type", "idempotency-key", "last-event-id", "prefer", "priority", "traceparent",
    "tracestate",
)  # fmt: skip
_SEES: Final = (
    "correlation-id", "idempotency-replayed", "job-state", "location", "preference-applied", "retry-after",
    "server-timing", "www-authenticate",
)  # fmt: skip


def with_cors(application: Application, settings: Settings) -> Application:
    """Return the application for pages of ``[cors] origins`` too; as it is if there are none."""
    origins = settings.cors.origins
    if not origins:
        return application
    passes = {name for route in settings.routes for name in route.pass_headers}
    returns = {name for route in settings.routes for name in route.pass_reply_headers}
    return CORSMiddleware(
        application,
        allow_origins=origins,
        allow_methods=METHODS,
        allow_headers=sorted({*_SENDS, *passes}),
        expose_headers=sorted({*_SEES, *returns}),
        max_age=REMEMBERED_FOR,
    )
