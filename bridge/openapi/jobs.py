"""`/jobs/{id}` and what is below it, as operations of the document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.jobs.model import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.openapi.components import Answers

JOB: Final = "job"  # the schema's name
_TIME: Final[Mapping[str, Any]] = {"type": "string", "format": "date-time"}
_ID: Final = "^[0-9a-f]{32}$"
_STATES: Final = [state.value for state in State if state is not State.REFUSED]

SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "description": "A job as it is now.",
    "required": [
        "id", "route", "state", "created", "started", "finished", "attempts", "progress", "links",
    ],
    "properties": {
        "id": {"type": "string", "pattern": _ID},
        "route": {"type": "string"},
        "state": {"enum": _STATES},
        "created": _TIME,
        "started": {"oneOf": [_TIME, {"type": "null"}]},
        "finished": {"oneOf": [_TIME, {"type": "null"}]},
        "attempts": {"type": "integer", "minimum": 0, "description": "How many workers are known to have had it."},
        "progress": {"description": "What its worker told last; null: nothing yet."},
        "links": {
            "type": "object",
            "required": ["self", "result", "events"],
            "properties": {name: {"type": "string"} for name in ("self", "result", "events")},
        },
    },
}  # fmt: skip

_PARAMETER: Final[Mapping[str, Any]] = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The job's, as `Location` and `Correlation-Id` say it.",
    "schema": {"type": "string", "pattern": _ID},
    "example": "0123456789abcdef0123456789abcdef",
}
_LAST: Final[Mapping[str, Any]] = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The `id` of the last event that was read; the stream goes on behind it.",
    "schema": {"type": "string", "pattern": "^([0-9]{1,18})?$"},
}
_WAIT: Final = {"$ref": "#/components/parameters/Prefer"}
_ALWAYS: Final = ("no-job", "job-gone", "store-unavailable", "internal")
_OF_RESULTS: Final = (
    "job-cancelled", "worker-failed", "worker-lost", "poisoned", "bad-reply", "deadline",
)  # fmt: skip


def paths_of_jobs(answers: Answers, refusals: Sequence[str]) -> dict[str, Any]:
    """Return their Path Items; problems go to ``answers``; ``refusals``: those that say who may not ask."""

    def described(
        name: str,
        summary: str,
        text: str,
        good: Mapping[str, Any],
        problems: Sequence[str],
        *parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        names = [*_ALWAYS, *problems, *refusals]
        return {
            "operationId": f"jobs.{name}",
            "summary": summary,
            "description": text,
            "parameters": [_PARAMETER, *parameters],
            "responses": {**good, **answers.of(names, of_workers="2XX" in good)},
        }

    job = {"200": _json("The job. `Job-State` is its state.")}
    result = {
        "2XX": {
            "description": "The worker's reply, as a held call would have had it.",
            "headers": _headers(),
            "content": {"*/*": {}},
        },
        "202": _json("The job is not finished. A worker's own `202` has `Job-State: done`."),
        "default": {
            "description": "The worker's reply may have any status.",
            "headers": _headers(),
            "content": {"*/*": {}},
        },
    }
    events = {
        "200": {
            "description": "Events: `started`, `progress`, `chunk` and, as the last, `done` or `failed`.",
            "headers": _headers(),
            "content": {"text/event-stream": {}},
        },
        "204": {"description": "The last event was read already.", "headers": _headers()},
    }
    gone = {"204": {"description": "The job is cancelled.", "headers": _headers()}}
    return {
        "/jobs/{id}": {
            "get": described(
                "get", "a job", "With `Prefer: wait=S` held until the job is over.", job, ("bridge-full",), _WAIT
            ),
            "delete": described(
                "cancel", "a job", "Cancels it: its worker is told to stop.", gone, ("job-final",)
            ),
        },
        "/jobs/{id}/result": {
            "get": described(
                "result", "the result of a job", "With `Prefer: wait=S` held until there is one.", result,
                ("bridge-full", *_OF_RESULTS), _WAIT,
            ),
        },
        "/jobs/{id}/events": {
            "get": described(
                "events", "the events of a job", "A stream of events as they come, up to the job's end.", events,
                ("invalid-request", "slow-reader", "bridge-full"), _LAST,
            ),
        },
    }  # fmt: skip


def _json(description: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{JOB}"}
    return {"description": description, "headers": _headers(), "content": {"application/json": {"schema": schema}}}


def _headers() -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("Correlation-Id", "Server-Timing", "Job-State")}
