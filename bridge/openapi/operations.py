"""A route and a method as an operation of the document."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Any, Final

from bridge.asgi import WITHOUT_CONTENT
from bridge.openapi import components
from bridge.settings.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.openapi.components import Answers
    from bridge.settings import Route

_PARAMETER: Final = re.compile(r"\{([^}]*)\}")
# OpenAPI 3.1, Parameter Object: these are not described as parameters.
_NO_PARAMETERS: Final = frozenset({"accept", "content-type", "authorization"})
_STREAMS: Final[Mapping[object, tuple[str, ...]]] = {
    True: (
        "With `Accept: text/event-stream` the answer is a stream of events:",
        "`started`, `progress`, `chunk` and, as the last, `done` or `failed`.",
        "With an `Idempotency-Key` as well, the same call with `Last-Event-ID` goes on behind that event.",
    ),
    "body": ("The worker may send its reply in parts as it makes them.",),
}
ALWAYS: Final = (
    "invalid-request", "body-timeout", "body-too-large", "uri-too-long", "headers-too-large", "internal",
    "worker-failed", "worker-lost", "poisoned", "bad-reply", "broker-lost",
    "no-worker", "broker-unavailable", "queue-full", "bridge-full", "route-full", "draining", "deadline",
)  # fmt: skip
SOMETIMES: Final = (
    "forbidden", "no-route", "unsupported-media-type", "invalid-body", "store-unavailable", "job-cancelled",
    "idempotency-mismatch", "unauthenticated", "caller-limit", "keys-unavailable",
)  # fmt: skip


class Asks(enum.Enum):
    """Whom a bridge asks who it is."""

    NOBODY = enum.auto()
    THIS_MACHINE = enum.auto()  # nobody, and so it is open to its own machine only
    CALLERS = enum.auto()
    CALLERS_WITH_TOKENS = enum.auto()


REFUSALS: Final[Mapping[Asks, tuple[str, ...]]] = {
    Asks.NOBODY: (),
    Asks.THIS_MACHINE: ("forbidden",),
    Asks.CALLERS: ("unauthenticated", "forbidden", "caller-limit"),
    Asks.CALLERS_WITH_TOKENS: ("unauthenticated", "forbidden", "caller-limit", "keys-unavailable"),
}


def problems_of(route: Route, asks: Asks) -> list[str]:
    """Return the names of all problems that a call of the route can get."""
    names = [*ALWAYS, *REFUSALS[asks]]
    if _PARAMETER.search(route.path):
        names.append("no-route")  # for what cannot stand in a parameter
    if route.accepts or "content-encoding" not in route.pass_headers:
        names.append("unsupported-media-type")
    if route.schema_ is not None:
        names.append("invalid-body")
    if may_be_job(route):
        names += ["store-unavailable", "job-cancelled"]
    if route.idempotency != "off":
        names.append("idempotency-mismatch")
    return names


def may_be_job(route: Route) -> bool:
    """Say whether a call of the route can be a job instead of a held call."""
    return route.async_ != "never" or route.idempotency != "off"


def operation(route: Route, method: str, answers: Answers, asks: Asks) -> dict[str, Any]:
    """Return the Operation Object; problems go to ``answers``."""
    described: dict[str, Any] = {
        "operationId": f"{method.lower()}_{route.name}",
        "summary": route.name,
        "description": _description(route),
        "parameters": list(_parameters(route)),
        "responses": {
            "2XX": _reply(route),
            **answers.of(problems_of(route, asks)),
            "default": _reply(route),
        },
    }
    if method not in WITHOUT_CONTENT:
        described["requestBody"] = _body(route)
    return described


def _description(route: Route) -> str:
    held = f"Held for at most {_spaced(format_duration(route.timeout))}."
    reply = f"The reply has at most {_spaced(format_size(route.max_reply))}."
    persistent = ["The message survives a restart of the broker."] if route.persistent else []
    return " ".join([held, reply, *persistent, *_STREAMS.get(route.stream, ())])


def _spaced(amount: str) -> str:
    return re.sub(r"(?<=[0-9])(?=[A-Za-z])", "\N{NO-BREAK SPACE}", amount)


def _parameters(route: Route) -> Iterator[dict[str, Any]]:
    for name in _PARAMETER.findall(route.path):
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": f"The worker sees it as `path_{name}`.",
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
        }
    yield {
        "name": "query",
        "in": "query",
        "description": "Any query; the worker sees it as it came.",
        "style": "form",
        "explode": True,
        "schema": {"type": "object", "additionalProperties": True},
    }
    shared = ["Prefer", "Priority", "traceparent", "tracestate"]
    if route.idempotency == "optional":
        shared.append("Idempotency-Key")
    for name in shared:
        yield {"$ref": f"#/components/parameters/{name}"}
    if route.idempotency == "required":
        yield {**components.PARAMETERS["Idempotency-Key"], "required": True}
    for name in route.pass_headers:
        if name not in _NO_PARAMETERS and name not in ("prefer", "priority"):
            yield {"name": name, "in": "header", "description": "Goes to the worker.", "schema": {"type": "string"}}


def _body(route: Route) -> dict[str, Any]:
    types = route.accepts or (("application/json",) if route.schema_ is not None else ("*/*",))
    return {
        "required": route.schema_ is not None,
        "description": f"At most {_spaced(format_size(route.max_body))}.",
        "content": {media_type: _media_type(route) for media_type in types},
    }


def _media_type(route: Route) -> dict[str, Any]:
    if route.schema_ is not None:
        return {"schema": {"$ref": f"#/components/schemas/{components.BODY.format(route.name)}"}}
    return {}


def _reply(route: Route) -> dict[str, Any]:
    headers: dict[str, Any] = {
        name: {"$ref": f"#/components/headers/{name}"}
        for name in ("Correlation-Id", "Server-Timing", "Preference-Applied")
    }
    headers |= {name: {"schema": {"type": "string"}} for name in route.pass_reply_headers}
    return {
        "description": "Any status from 200 to 599, the worker's body, and those of its headers that the route names.",
        "headers": headers,
        "content": {"*/*": {}},
    }
