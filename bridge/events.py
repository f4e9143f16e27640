"""Server-sent events (WHATWG HTML, 9.2) as docs/http.md has them: what they say, and how they look. No I/O."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Final

from activemq.errors import ActiveMQError
from activemq.message import ReplyMessage

if TYPE_CHECKING:
    from activemq import Frame
    from bridge.asgi import Headers
    from bridge.translate import Answer, Head

MAX_EVENT: Final = 64 * 1024  # bytes of a worker's word, as it sent them: what it can know
EVENT_STREAM: Final = b"text/event-stream"
STREAM_HEADERS: Final[Headers] = [(b"content-type", EVENT_STREAM), (b"cache-control", b"no-store")]
SILENCE: Final = b": waiting\n\n"  # a comment


def is_asked_for(head: Head) -> bool:
    """Say whether a caller takes events."""
    return head.accept is not None and EVENT_STREAM in head.accept.lower()


def encode_event(kind: str, number: int | None, data: bytes) -> bytes:
    """Return one event; without a number whoever comes again resumes behind the one before."""
    numbered = b"" if number is None else b"id: %d\n" % number
    return b"event: %b\n%bdata: %b\n\n" % (kind.encode(), numbered, data)


def document_of(frame: Frame) -> bytes:
    """Return a notice's body as JSON: as it is, or as text, or as base64."""
    try:
        if "json" in ReplyMessage(frame).content_type:
            return as_json(json.loads(frame.body))
    except (ValueError, RecursionError, ActiveMQError):
        pass  # what says it is JSON and is not is told as text; so are NaN and what is too deep for us
    body = _body(frame.body)
    return as_json(body.get("body", body))


def done_of(answer: Answer) -> dict[str, object]:
    """Return an answer as the data of `done`."""
    return {**head_of(answer), **_body(answer.body)}


def head_of(answer: Answer) -> dict[str, object]:
    """Return the same without its body."""
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    headers.pop("content-length", None)
    return {"status": answer.status, "content_type": headers.pop("content-type", None), "headers": headers}


def as_json(document: object) -> bytes:
    """Return it on one line, no longer than it need be; raises ValueError for what JSON does not have."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _body(body: bytes) -> dict[str, object]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}
