"""From settings to an OpenAPI 3.1 document. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.openapi import components, operations
from bridge.openapi.embedding import embedded
from bridge.openapi.jobs import JOB, SCHEMA, paths_of_jobs

if TYPE_CHECKING:
    from bridge.settings import Settings

_DESCRIPTION: Final = """\
Each call becomes a message on a queue of a broker, an idle worker takes it, and its reply becomes the answer: its
status, its `Content-Type`, its body byte for byte.

Every answer carries `Correlation-Id` (that of the message) and `Server-Timing`. The bridge's own answers are problems
(RFC 9457); their member `ran` says whether the work may have been done: after `no` the same call can be sent again
without doing it twice."""


def make_document(settings: Settings, version: str) -> dict[str, Any]:
    """Return the document; ``version`` is the bridge's, since the routes have none."""
    asks = _asks(settings)
    answers = components.Answers()
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for route in settings.routes:
        if route.schema_ is not None:
            schemas[components.BODY.format(route.name)] = embedded(route.schema_, components.BODY.format(route.name))
        for method in sorted(route.methods):
            operation = operations.operation(route, method, answers, asks)
            paths.setdefault(route.path, {})[method.lower()] = operation
    if any(map(operations.may_be_job, settings.routes)):
        paths |= paths_of_jobs(answers, operations.REFUSALS[asks])
        schemas[JOB] = SCHEMA
    return {
        "openapi": "3.1.1",
        "info": {"title": "activemq-rest-bridge", "version": version, "description": _DESCRIPTION},
        "servers": [{"url": settings.server.public_url or "/"}],
        "paths": paths,
        "components": {
            "schemas": {**schemas, **answers.schemas(settings.server.public_url)},
            "responses": answers.responses,
            "parameters": components.PARAMETERS,
            "headers": components.HEADERS,
            **_schemes(settings),
        },
        **_security(settings),
    }


def _asks(settings: Settings) -> operations.Asks:
    if settings.jwt is not None:
        return operations.Asks.CALLERS_WITH_TOKENS
    if settings.callers:
        return operations.Asks.CALLERS
    return operations.Asks.NOBODY if settings.server.allow_anonymous else operations.Asks.THIS_MACHINE


def _ways(settings: Settings) -> dict[str, Any]:
    """Return the Security Scheme Objects, by name: each is enough."""
    ways: dict[str, Any] = {}
    if settings.jwt is not None or any(caller.key_sha256 for caller in settings.callers):
        ways["bearer"] = {"type": "http", "scheme": "bearer", "description": "A key, or a token (JWT) of the issuer."}
    if any(caller.certificate_subject for caller in settings.callers):
        ways["certificate"] = {"type": "mutualTLS", "description": "A client certificate."}
    return ways


def _schemes(settings: Settings) -> dict[str, Any]:
    ways = _ways(settings)
    return {"securitySchemes": ways} if ways else {}


def _security(settings: Settings) -> dict[str, Any]:
    ways = _ways(settings)
    return {"security": [{name: []} for name in ways]} if ways else {}
