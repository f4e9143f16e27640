"""The error table of the HTTP contract (docs/http.md): RFC 9457 problems, one row each."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Ran = Literal["no", "maybe", "yes"]

CONTENT_TYPE: Final = "application/problem+json"
RETRY_SOON: Final = 1  # seconds


@dataclass(frozen=True, slots=True)
class Row:
    """What is the same for all problems of one name; ``meaning`` is what its page says to do.

    ``also``: what else its ``ran`` can be; ``extra``: the members that the contract names for it.
    """

    status: int
    title: str
    ran: Ran | None  # None: it is not about a call
    meaning: str
    also: tuple[Ran, ...] = ()
    extra: tuple[str, ...] = ()


TABLE: Final[Mapping[str, Row]] = {
    "invalid-request": Row(
        400, "The request is malformed", "no", "Correct the field that `field` names.", extra=("field",)
    ),
    "unauthenticated": Row(401, "Who are you?", "no", "Send `Authorization: Bearer KEY`, or a client certificate."),
    "forbidden": Row(
        403, "Not allowed", "no", "Ask for the right to call this route; an open bridge serves its own machine only."
    ),
    "no-route": Row(404, "No such route", "no", "Check the path; /docs lists what there is."),
    "method-not-allowed": Row(405, "Method not allowed", "no", "Use one of the methods in `Allow`."),
    "no-job": Row(404, "No such job", None, "Check the id; a job can be seen only by the caller who made it."),
    "job-gone": Row(410, "The job was cleaned away", None, "Fetch results within the retention time."),
    "job-final": Row(409, "The job is over", None, "There is nothing left to cancel; its result can be fetched."),
    "job-cancelled": Row(410, "The job was cancelled", "maybe", "It has no result; it may have run in part."),
    "no-dead-letter": Row(404, "No such dead letter", None, "List them again: it was replayed or dropped meanwhile."),
    "dead-letter-busy": Row(409, "Somebody else is at it", None, "Try again in a moment."),
    "not-replayable": Row(
        409, "The dead letter cannot be replayed", None, "`detail` says why; its body can be saved and sent anew."
    ),
    "body-timeout": Row(408, "The body did not come in time", "no", "Send the whole body without pausing."),
    "slow-reader": Row(408, "The caller reads too slowly", "maybe", "Read the events as they come."),
    "body-too-large": Row(
        413, "The body is too large", "no", "Send at most `limit_bytes` bytes.", extra=("limit_bytes",)
    ),
    "uri-too-long": Row(
        414, "The target is too long", "no", "Keep path and query within `limit_bytes` bytes.", extra=("limit_bytes",)
    ),
    "unsupported-media-type": Row(
        415, "Unsupported media type", "no", "Send one of `accepts`, not encoded.", extra=("accepts",)
    ),
    "invalid-body": Row(422, "The body does not fit", "no", "Correct what `errors` lists.", extra=("errors",)),
    "settings-refused": Row(422, "The file is refused", "no", "Correct what `errors` lists.", extra=("errors",)),
    "idempotency-mismatch": Row(
        422, "The key belongs to another request", "no", "Use a new Idempotency-Key for each different request."
    ),
    "headers-too-large": Row(
        431, "A header is too large", "no", "Keep each header within `limit_bytes` bytes.", extra=("limit_bytes",)
    ),
    "caller-limit": Row(429, "The caller is at its limit", "no", "Try again after `Retry-After` seconds."),
    "internal": Row(500, "The bridge has a defect", "maybe", "Report it with the correlation id."),
    "worker-failed": Row(502, "The worker failed", "yes", "The handler raised an error; its log has the trace."),
    "worker-lost": Row(502, "The worker was lost", "maybe", "Its worker died; the route does not hand jobs on."),
    "poisoned": Row(
        502,
        "The message was given up",
        "maybe",
        "It was lost too many times and has been parked; the operator sees it with `mqbridge dlq list`.",
        extra=("attempts",),
    ),
    "bad-reply": Row(502, "The reply cannot be an answer", "yes", "The worker ran, and answered what HTTP cannot say."),
    "broker-lost": Row(502, "The broker was lost", "maybe", "The connection died while the call waited."),
    "keys-unavailable": Row(
        503, "No keys to judge a token by", "no", "Try again after `Retry-After` seconds, or send a key."
    ),
    "no-worker": Row(
        503, "No worker is there", "no", "Try again after `Retry-After` seconds, or start a worker.", ("maybe",)
    ),
    "broker-unavailable": Row(
        503, "The broker is not there", "no", "Try again after `Retry-After` seconds.", ("maybe",)
    ),
    "store-unavailable": Row(
        503,
        "No store for jobs",
        "no",
        "Try again after `Retry-After` seconds, or call without a key and without respond-async.",
        ("maybe",),
    ),
    "queue-full": Row(503, "The queue takes no more", "no", "Try again after `Retry-After` seconds."),
    "bridge-full": Row(503, "The bridge holds too many calls", "no", "Try again after `Retry-After` seconds."),
    "route-full": Row(503, "The route holds too many calls", "no", "Try again after `Retry-After` seconds."),
    "draining": Row(503, "The bridge is shutting down", "no", "Try again; another bridge will take it."),
    "deadline": Row(
        504, "No reply in time", "maybe", "The work may still be queued, running or done.", ("no", "yes"), ("phase",)
    ),
}


@dataclass(eq=False)
class Problem(Exception):  # noqa: N818 - RFC 9457 calls it that
    """An answer of the bridge's own; ``name`` is a row of :data:`TABLE`.

    ``detail`` says what is wrong this time and never holds what came from a broker or a worker; ``ran`` overrides
    the row's; ``extra`` are the members that the contract names; ``headers`` go out with it.
    """

    name: str
    detail: str
    ran: Ran | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}"

    @property
    def row(self) -> Row:
        """What the table says of it."""
        return TABLE[self.name]

    def body(self, instance: str, correlation_id: str, prefix: str = "") -> bytes:
        """Return the JSON document; ``instance`` is the path that was called, ``prefix`` the public URL."""
        document: dict[str, object] = {
            "type": f"{prefix}/problems/{self.name}",
            "title": self.row.title,
            "status": self.row.status,
            "detail": self.detail,
            "instance": instance,
            "correlation_id": correlation_id,
        }
        ran = self.ran or self.row.ran
        if ran is not None:
            document["ran"] = ran
        document.update(self.extra)
        return json.dumps(document).encode()


def retry_later(name: str, detail: str, ran: Ran | None = None, *, after: int = RETRY_SOON) -> Problem:
    """Make a 429 or one of the 503s, which all say when to come back: after so many seconds."""
    return Problem(name, detail, ran, headers=((b"retry-after", b"%d" % after),))
