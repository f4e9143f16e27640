"""The parts of the document that routes share: headers, parameters, problems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.problems import CONTENT_TYPE, TABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.problems import Row

BODY: Final = "body.{}"  # of a route's JSON Schema; no other component begins so
_PROBLEM: Final = "problem.{}"
_SAMPLE_ID: Final = "0123456789abcdef0123456789abcdef"


def _header(description: str, **schema: object) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string", **schema}}


HEADERS: Final[Mapping[str, Any]] = {
    "Correlation-Id": {
        "required": True,
        **_header(
            "The JMSCorrelationID of the message, and the name of this call in the logs.", pattern="^[0-9a-f]{32}$"
        ),
    },
    "Server-Timing": {
        "required": True,
        **_header("Milliseconds: `bridge;dur=…`, and `queue` and `work` where the worker tells."),
    },
    "Job-State": _header(
        "Of a job: where it is in its life.",
        enum=["queued", "running", "done", "failed", "expired", "cancelled"],
    ),
    "Retry-After": _header("Seconds until it is worth another try.", pattern="^[0-9]+$"),
    "Preference-Applied": _header("The preference of `Prefer` that was used, such as `wait=5`."),
}


def _parameter(name: str, description: str, example: str, **schema: object) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "description": description,
        "schema": {"type": "string", **schema},
        "example": example,
    }


PARAMETERS: Final[Mapping[str, Any]] = {
    "Prefer": _parameter(
        "Prefer",
        "`wait=S` (RFC 7240): hold the call for at most S seconds. What is malformed is ignored.",
        "wait=5",
    ),
    "Priority": _parameter("Priority", "`u=0` (first) to `u=7` (last), RFC 9218. What is malformed is ignored.", "u=3"),
    "traceparent": _parameter(
        "traceparent",
        "W3C Trace Context; goes to the worker. What is malformed makes a new trace.",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    "tracestate": _parameter("tracestate", "W3C Trace Context; goes to the worker with `traceparent`.", "vendor=value"),
    "Idempotency-Key": _parameter(
        "Idempotency-Key",
        "A name for this call, the same for each of its retries.",
        "8e03978e-40d5-43dd-bc93-6894a57f9324",
        pattern=r'^([!#-\[\]-~]{1,255}|"[!#-\[\]-~]{1,255}")$',
    ),
}

_EXTRA: Final[Mapping[str, Mapping[str, Any]]] = {
    "field": {"type": "string", "description": "The header, or `target`, that is malformed."},
    "limit_bytes": {"type": "integer", "description": "What would have been taken."},
    "accepts": {"type": "array", "items": {"type": "string"}, "description": "The media types that are taken."},
    "attempts": {"type": "integer", "description": "How many workers had it."},
    "phase": {"enum": ["queued", "running", "unknown"], "description": "How far the work had come."},
    "errors": {
        "type": "array",
        "maxItems": 20,
        "items": {
            "type": "object",
            "required": ["pointer", "message"],
            "properties": {
                "pointer": {"type": "string", "description": "Where in the body: a JSON Pointer (RFC 6901)."},
                "message": {"type": "string"},
            },
        },
    },
}
_ALWAYS_THERE: Final = frozenset({"field", "limit_bytes", "accepts", "phase", "errors"})


def rans(row: Row) -> list[str]:
    """Return what ``ran`` can be, the usual first."""
    return [ran for ran in (row.ran, *row.also) if ran is not None]


class Answers:
    """Collects the problems that operations give, so that each is described once."""

    def __init__(self) -> None:
        self.responses: dict[str, Any] = {}
        self._names: set[str] = set()

    def of(self, names: Sequence[str], *, of_workers: bool = True) -> dict[str, Any]:
        """Return the responses of an operation by status, as references, for the names of its problems.

        ``of_workers``: a worker may use these statuses too.
        """
        by_status: dict[int, list[str]] = {}
        for name in names:
            by_status.setdefault(TABLE[name].status, []).append(name)
        return {str(status): self._response(status, same, of_workers) for status, same in sorted(by_status.items())}

    def _response(self, status: int, names: list[str], of_workers: bool) -> dict[str, str]:
        self._names.update(names)
        key = "-or-".join(names) + ("" if of_workers else ".bridge")
        # What a worker uses has its own body.
        others: dict[str, Any] = {"*/*": {}} if of_workers else {}
        self.responses[key] = {
            "description": "\n".join(_line(name) for name in names),
            "headers": {
                name: {"$ref": f"#/components/headers/{name}"}
                for name in ("Correlation-Id", "Server-Timing", "Retry-After", "Preference-Applied")
                if name != "Retry-After" or status in (429, 503)
            },
            "content": {
                CONTENT_TYPE: {"schema": _one_of([f"#/components/schemas/{_PROBLEM.format(name)}" for name in names])},
                **others,
            },
        }
        return {"$ref": f"#/components/responses/{key}"}

    def schemas(self, prefix: str) -> dict[str, Any]:
        """Return the schemas of all problems so far; ``prefix`` is the public URL."""
        return {_PROBLEM.format(name): _schema(name, prefix) for name in TABLE if name in self._names}


def _line(name: str) -> str:
    row = TABLE[name]
    ran = f" (ran: {' or '.join(rans(row))})" if row.ran else ""
    return f"- `{name}`{ran}: {row.title}. {row.meaning}"


def _one_of(references: list[str]) -> dict[str, Any]:
    if len(references) == 1:
        return {"$ref": references[0]}
    return {"oneOf": [{"$ref": reference} for reference in references]}


def _schema(name: str, prefix: str) -> dict[str, Any]:
    row = TABLE[name]
    usual: dict[str, Any] = {
        "type": {"const": f"{prefix}/problems/{name}"},
        "title": {"const": row.title},
        "status": {"const": row.status},
        "detail": {"type": "string", "description": "What is wrong this time."},
        "instance": {"type": "string", "description": "The path that was called."},
        "correlation_id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    }
    if row.ran is not None:
        usual["ran"] = {"enum": rans(row), "description": "Whether the work may have been done."}
    return {
        "type": "object",
        "description": f"{row.title}. {row.meaning}",
        "required": [*usual, *(extra for extra in row.extra if extra in _ALWAYS_THERE)],
        "properties": {**usual, **{extra: _EXTRA[extra] for extra in row.extra}},
    }
