"""A request message as an HTTP request, and an HTTP response's head as a reply's: what `asgi` and `forward` share."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from activemq.contract import CONTROLS, HOP_BY_HOP
from activemq.message import MAX_PROPERTY, property_size
from consumers.reply import RefusedError, Reply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumers.request import Request

log = logging.getLogger(__name__)

_METHOD: Final = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")
_TARGET: Final = re.compile(r"/[!\"$-~]*")  # origin-form (RFC 9112, 3.2.1): visible ASCII without the fragment's #
_NAME: Final = re.compile(r"[a-z0-9-]+")  # what a property's name can carry
# Set by whoever sends the request on, so a message that names them cannot contradict its own body or destination.
_OURS: Final = HOP_BY_HOP | {
    "content-length",
    "content-type",
    "correlation-id",
    "expect",
    "host",
    "traceparent",
    "tracestate",
}
# A worker's cookie for one caller must not become another's, and the body's own length is what counts.
_NOT_RETURNED: Final = HOP_BY_HOP | {"content-length", "content-type", "set-cookie", "set-cookie2"}


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """The head of a request: path and query as the caller sent them, headers without host and content-length."""

    method: str
    raw_path: str
    query: str
    headers: list[tuple[str, str]]


def http_request(request: Request) -> HttpRequest:
    """Make the HTTP request that a message stands for.

    Raises RefusedError, a 400, for a method, a target or a header that cannot stand in one: messages also come from
    requesters that are no bridge.
    """
    method, target = request.method, request.target
    if not _METHOD.fullmatch(method):
        raise _malformed("http_method is not a method")
    if not _TARGET.fullmatch(target):
        raise _malformed("http_target is not a path (it must begin with a slash and be percent-encoded)")
    raw_path, _, query = target.partition("?")
    headers = [(name, value) for name, value in request.headers.items() if name not in _OURS and _NAME.fullmatch(name)]
    if request.content_type is not None:
        headers.append(("content-type", request.content_type))
    headers.append(("correlation-id", request.correlation_id))
    headers += request.trace.items()
    for name, value in headers:
        if CONTROLS.search(value):
            raise _malformed(f"the header {name} holds a control character")
    return HttpRequest(method, raw_path, query, headers)


def _malformed(detail: str) -> RefusedError:
    return RefusedError(Reply.problem(400, detail, ran="no"))


def http_reply(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Reply:
    """Make the reply of an HTTP response; ``headers`` with lower-case names.

    All are given on but hop-by-hop ones and cookies: the route's allow-list decides. One that no message can carry is
    left out, with a warning.
    """
    content_type: str | None = None
    kept: dict[str, str] = {}
    skipped = _NOT_RETURNED
    headers = list(headers)
    for name, value in headers:
        if name == "connection":
            skipped |= {option.strip().lower() for option in value.split(",")}
    for name, value in headers:
        if name == "content-type":
            content_type = value
        elif name not in skipped:
            kept[name] = f"{kept[name]}, {value}" if name in kept else value
    return Reply(body, status, content_type, {n: v for n, v in kept.items() if _can_be_carried(n, v)})


def _can_be_carried(name: str, value: str) -> bool:
    if not _NAME.fullmatch(name):
        return False
    if CONTROLS.search(value) is None and property_size(value) > MAX_PROPERTY:
        log.warning("response header %s is over %d bytes, too long for a message; left out", name, MAX_PROPERTY)
        return False
    return True
