"""HTTP to message and back: pure functions, allow-lists only.

ActiveMQ's own servlet once copied JMS properties into HTTP headers (CVE-2026-42253); here nothing passes that a
route does not name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Protocol

from activemq.contract import CONTROLS, NO_BODY
from activemq.errors import MessageError, RemoteProtocolError
from activemq.jms import unreadable
from activemq.message import HEADER_PREFIX, MAX_PROPERTY, ReplyMessage, is_text, property_size
from bridge.problems import Problem, Ran

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from activemq.frames import Frame
    from bridge.routing import ServedRoute

Headers = list[tuple[bytes, bytes]]

_WAIT: Final = re.compile(r"wait\s*=\s*(\"?)([0-9]{1,9})\1", re.IGNORECASE)
_URGENCY: Final = re.compile(r"(?:^|,)[ \t]*u=([0-7])[ \t]*(?:;[^,]*)?(?=,|$)")
# A preference and its parameters; a comma within quotes is not the end of it.
_PREFERENCE: Final = re.compile(r"(?:[^,\"]|\"(?:[^\"\\]|\\.)*\"?)+")
# W3C Trace Context, 3.2: version 00 ends with the flags, a later one may go on. How far is bounded here: whatever goes
# into a message header has to be.
_TRACE_IDS: Final = rb"-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_TRACEPARENT: Final = re.compile(rb"00%b|(?!00|ff)[0-9a-f]{2}%b(?:-[!-~]{0,256})?" % (_TRACE_IDS, _TRACE_IDS))
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")
_KEY: Final = re.compile(rb"[!#-\[\]-~]{1,255}|\"[!#-\[\]-~]{1,255}\"")
_TARGET: Final = re.compile(rb"[!-~]+")
# JMSPriority of RFC 9218's u=0 … 7: its default, 3, is the middle of JMS.
_PRIORITIES: Final = (9, 7, 6, 4, 3, 2, 1, 0)
_DEFAULT_PRIORITY: Final = 4
_PROXY_PREFIX: Final = b"x-forwarded-"
_PROXY: Final = (b"forwarded", b"via")
# Escapes and UTF-8 make a value at most four times as long as it has characters.
_SURELY_SHORT: Final = MAX_PROPERTY // 4


MAX_FIELDS: Final = 100  # headers of a request; h11 and httptools take any number


class Head:
    """What the bridge reads of a request's head."""

    __slots__ = (
        "accept",
        "authorization",
        "behind_proxy",
        "chunked",
        "content_encoding",
        "content_length",
        "content_type",
        "fetched_from",
        "host",
        "idempotency_key",
        "origin",
        "passed",
        "prefer",
        "priority",
        "traceparent",
        "tracestate",
        "upgrade",
    )

    def __init__(self) -> None:
        self.accept: bytes | None = None
        self.authorization: bytes | None = None
        self.content_length: int | None = None
        self.chunked = False
        self.content_type: bytes | None = None
        self.content_encoding: bytes | None = None
        self.host: bytes | None = None
        self.origin: bytes | None = None
        self.fetched_from: bytes | None = None
        self.behind_proxy = False
        self.prefer: list[bytes] = []
        self.priority: bytes | None = None
        self.idempotency_key: bytes | None = None
        self.traceparent: bytes | None = None
        self.tracestate: bytes | None = None
        self.upgrade: bytes | None = None
        self.passed: list[tuple[str, bytes]] = []


# What stands in a request once, or is joined with a comma if it does not (RFC 9110, 5.3).
_SIMPLE: Final[Mapping[bytes, str]] = {
    b"accept": "accept",
    b"authorization": "authorization",
    b"content-type": "content_type",
    b"content-encoding": "content_encoding",
    b"host": "host",
    b"origin": "origin",
    b"sec-fetch-site": "fetched_from",
    b"priority": "priority",
    b"idempotency-key": "idempotency_key",
    b"traceparent": "traceparent",
    b"tracestate": "tracestate",
    b"upgrade": "upgrade",
}
# What nearly every request has and nobody here reads: not worth a second look.
_ORDINARY: Final = frozenset({b"user-agent", b"accept-encoding", b"accept-language", b"connection", b"cache-control"})
_SINGLE: Final = frozenset({b"authorization", b"host", b"content-type", b"idempotency-key"})


def read_head(headers: Sequence[tuple[bytes, bytes]], passes: Mapping[bytes, str]) -> Head:
    """Read all headers once. ``passes``: the route's header → property.

    Raises :class:`Problem` ``invalid-request`` for ambiguous framing (RFC 9112, 6.3): whoever stands before us may
    have understood it differently. The same for a name with ``_``, which CGI and its heirs cannot tell from one with
    ``-``. ``headers-too-large`` for more than 100 of them.
    """
    if len(headers) > MAX_FIELDS:
        raise _too_many(len(headers))
    head = Head()
    for name, value in headers:
        if name in _SIMPLE:
            _set(head, name, value)
        elif name == b"content-length":
            head.content_length = _length(value, head.content_length)
        elif name == b"transfer-encoding":
            head.chunked = _chunked(value, before=head.chunked)
        elif name == b"prefer":
            head.prefer.append(value)
        elif name not in _ORDINARY:
            _read_other(head, name)
        if name in passes:
            head.passed.append((passes[name], value))
    if head.chunked or head.upgrade is not None:
        _check_framing(head)
    return head


def _too_many(number: int) -> Problem:
    detail = f"{number} headers, over the limit of {MAX_FIELDS}"
    return Problem("headers-too-large", detail, extra={"limit_fields": MAX_FIELDS})


def _read_other(head: Head, name: bytes) -> None:
    if name.startswith(_PROXY_PREFIX) or name in _PROXY:
        head.behind_proxy = True
    elif b"_" in name:
        raise invalid(name.decode("latin-1"), "a header's name may not hold an underscore here")


def _length(value: bytes, before: int | None) -> int:
    if before is not None or not _DIGITS.fullmatch(value):
        raise invalid("content-length", "must be there once and be a number")
    return int(value)


def _chunked(value: bytes, *, before: bool) -> bool:
    if before or value.lower() != b"chunked":  # another coding would stay on the body (RFC 9112, 6.1)
        raise invalid("transfer-encoding", "must be chunked, and there once")
    return True


def _check_framing(head: Head) -> None:
    if head.chunked and head.content_length is not None:
        raise invalid("content-length", "stands beside Transfer-Encoding")
    # httptools takes a request that asks for another protocol for one without a body, whatever its length [run].
    if head.upgrade is not None and (head.chunked or head.content_length):
        raise invalid("upgrade", "cannot be asked for with a body")


def _set(head: Head, name: bytes, value: bytes) -> None:
    attribute = _SIMPLE[name]
    before: bytes | None = getattr(head, attribute)
    if before is not None:
        if name in _SINGLE:
            raise invalid(name.decode(), "must be there once")
        value = before + b", " + value
    setattr(head, attribute, value)


def invalid(field: str, reason: str) -> Problem:
    """Make a 400 that names the field."""
    return Problem("invalid-request", f"{field}: {reason}", extra={"field": field})


def check_open_bridge(head: Head, origins: Container[bytes] = ()) -> None:
    """Refuse what a proxy or somebody's web page sends to a bridge without authentication.

    Raises :class:`Problem` ``forbidden`` unless ``Host`` is this machine, no proxy has added a header, and no browser
    says that a page from elsewhere sent it, unless that is of ``origins``.
    """
    if head.behind_proxy:
        raise Problem("forbidden", "this bridge has no authentication and may not stand behind a proxy")
    if not _is_loopback(head.host):
        raise Problem("forbidden", "this bridge has no authentication and answers only to a loopback Host")
    if comes_from_elsewhere(head) and head.origin not in origins:
        raise Problem("forbidden", "this bridge has no authentication and takes nothing from other sites' pages")


def comes_from_elsewhere(head: Head) -> bool:
    """Say whether a browser sent it for a page that is not of this machine (Fetch, 3.1 and Fetch Metadata).

    A page needs no permission to send a form.
    """
    return head.fetched_from == b"cross-site" or not _is_loopback(_host_of(head.origin))


def _host_of(origin: bytes | None) -> bytes | None:
    return None if origin is None else origin.rpartition(b"//")[2]


@lru_cache(maxsize=64)  # a caller sends the same Host with every call
def _is_loopback(host: bytes | None) -> bool:
    if host is None:
        return True  # HTTP/1.0 or a raw client; a browser always sends one
    name = host.decode("latin-1").lower()
    if name.startswith("["):
        name, _, rest = name[1:].partition("]")
        if rest and not rest.startswith(":"):
            return False
    else:
        name = name.partition(":")[0]
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def target_of(raw_path: bytes, query: bytes) -> str:
    """Return path and query as they came. Raises :class:`Problem` ``uri-too-long`` or ``invalid-request``."""
    target = raw_path + b"?" + query if query else raw_path
    if len(target) > _SURELY_SHORT and property_size(target.decode("latin-1")) > MAX_PROPERTY:
        raise Problem(
            "uri-too-long", "the target is too long for a message header", extra={"limit_bytes": MAX_PROPERTY}
        )
    if not _TARGET.fullmatch(target):
        raise invalid("target", "holds bytes that must be percent-encoded")
    return target.decode("ascii")


def check_media_type(head: Head, route: ServedRoute) -> None:
    """Raise :class:`Problem` ``unsupported-media-type`` for a type or an encoding that the route does not take."""
    accepts = route.settings.accepts
    if head.content_encoding is not None and b"content-encoding" not in route.passes:
        raise _unsupported("Content-Encoding is not accepted here", accepts)
    if accepts:
        media_type = (head.content_type or b"").partition(b";")[0].strip().lower().decode("latin-1")
        if media_type not in accepts:
            raise _unsupported("the Content-Type is not one that this route accepts", accepts)


def _unsupported(detail: str, accepts: tuple[str, ...]) -> Problem:
    return Problem("unsupported-media-type", detail, extra={"accepts": list(accepts)})


def check_idempotency_key(head: Head, route: ServedRoute) -> None:
    """Raise :class:`Problem` ``invalid-request`` for a malformed key, or where the route requires one and none is."""
    key, rule = head.idempotency_key, route.settings.idempotency
    if rule == "off":
        return
    if key is None:
        if rule == "required":
            raise invalid("idempotency-key", "this route requires one")
    elif not _KEY.fullmatch(key):
        raise invalid("idempotency-key", "must be 1 to 255 of ! to ~ without quotes and backslashes")


def is_job(head: Head, route: ServedRoute, preferences: Preferences) -> bool:
    """Say whether a request is a job, not a held call."""
    if head.idempotency_key is not None and route.settings.idempotency != "off":
        return True
    asynchronous = route.settings.async_
    return asynchronous == "always" or (preferences.respond_async and asynchronous == "allowed")


def properties_of(head: Head, target: str, method: str, parameters: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the properties that carry the request's head.

    Raises :class:`Problem` ``headers-too-large`` or ``invalid-request`` for a header that cannot be passed.
    """
    properties = [("http_method", method), ("http_target", target)]
    if head.content_type is not None:
        properties.append(("content_type", _text("content-type", head.content_type)))
    properties += parameters
    if head.passed:
        joined: dict[str, list[str]] = {}
        for name, value in head.passed:
            joined.setdefault(name, []).append(_text(name, value))
        properties += [(name, _bounded(name, ", ".join(values))) for name, values in joined.items()]
    return properties


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = value.decode("latin-1")  # RFC 9110, 5.5: obs-text
    if CONTROLS.search(text) is not None:
        raise invalid(_header_of(name), "holds a control character")
    return _bounded(name, text)


def _bounded(name: str, text: str) -> str:
    if len(text) > _SURELY_SHORT and property_size(text) > MAX_PROPERTY:
        detail = f"{_header_of(name)} is too long for a message header"
        raise Problem("headers-too-large", detail, extra={"limit_bytes": MAX_PROPERTY})
    return text


def _header_of(name: str) -> str:
    """Return the header that a property carries, as its sender knows it."""
    return name.removeprefix(HEADER_PREFIX).replace("_", "-")


@dataclass(frozen=True, slots=True)
class Preferences:
    """RFC 7240, as far as the contract knows it; ``wait`` in seconds."""

    wait: int | None = None
    respond_async: bool = False


NO_PREFERENCES: Final = Preferences()


def preferences(values: list[bytes]) -> Preferences:
    """Read all Prefer headers of a request; of duplicates the first wins, what is malformed is ignored."""
    wait: int | None = None
    respond_async = False
    seen: set[str] = set()
    for part in _PREFERENCE.findall(b",".join(values).decode("latin-1")):
        preference = part.partition(";")[0].strip()
        name = preference.partition("=")[0].strip().lower()
        if name in seen:
            continue
        seen.add(name)
        if name == "wait":
            match = _WAIT.fullmatch(preference)
            wait = int(match[2]) or None if match else None
        elif preference.lower() == "respond-async":
            respond_async = True
    return Preferences(wait, respond_async)


def priority_of(value: bytes | None, ceiling: int) -> int:
    """Return the JMSPriority for a Priority header (RFC 9218), never above the route's ceiling."""
    priority = _DEFAULT_PRIORITY
    if value is not None:
        urgencies = _URGENCY.findall(value.decode("latin-1"))
        if urgencies:  # of duplicates the last wins (RFC 8941, 3.2)
            priority = _PRIORITIES[int(urgencies[-1])]
    return min(priority, ceiling)


def trace_of(head: Head, new_id: str) -> list[tuple[str, str]]:
    """Return the trace context properties; ``new_id``: 32 random hex digits, used if no valid trace came (W3C)."""
    return trace_that_came(head) or [("traceparent", f"00-{new_id}-{new_id[16:]}-01")]


def trace_that_came(head: Head) -> list[tuple[str, str]]:
    """Return the caller's trace context as properties; empty if there is none that is valid.

    Raises :class:`Problem` as :func:`properties_of` does, for a ``tracestate``.
    """
    properties = parent_that_came(head)
    if properties and head.tracestate is not None:
        properties.append(("tracestate", _text("tracestate", head.tracestate)))
    return properties


def parent_that_came(head: Head) -> list[tuple[str, str]]:
    """Return the same without its ``tracestate``, about which there is nothing to raise then."""
    came = head.traceparent
    if came is None or not _TRACEPARENT.fullmatch(came):
        return []
    return [("traceparent", came.decode("latin-1"))]


def sampled_trace(head: Head) -> str:
    """Return the id of the trace that the caller samples (W3C Trace Context, 3.2.2.5); empty if it does not."""
    came = head.traceparent
    if came is None or not _TRACEPARENT.fullmatch(came) or not int(came[53:55], 16) & 1:
        return ""
    return came[3:35].decode("ascii")


def as_text(message: str, head: Head, body: bytes) -> bool:
    """Say whether the body goes as a TextMessage; ``message`` is the route's setting auto, text or bytes."""
    if message == "bytes":
        return False
    content_type = None if head.content_type is None else head.content_type.decode("latin-1")
    # A route that says "text" for a media type that is not text still cannot have what no TextMessage can hold.
    return is_text("text/plain" if message == "text" else content_type, body)


@dataclass(slots=True)
class Answer:
    """A worker's reply as an HTTP response; ``queue_ms`` and ``work_ms`` where the worker told."""

    status: int
    headers: Headers
    body: bytes
    queue_ms: float | None
    work_ms: float | None


def server_timing(took: float, queue_ms: float | None = None, work_ms: float | None = None) -> bytes:
    """Return the value of Server-Timing; ``took`` in seconds, the others as the worker told."""
    value = b"bridge;dur=%.2f" % (took * 1_000)
    if queue_ms is not None:
        value += b", queue;dur=%.2f" % queue_ms
    if work_ms is not None:
        value += b", work;dur=%.2f" % work_ms
    return value


class ReplyRules(Protocol):
    """What a route says of its replies: the most bytes, and which property may pass as which header."""

    @property
    def max_reply(self) -> int:
        """Return the most bytes that a reply's body may have."""
        ...

    @property
    def returns(self) -> tuple[tuple[str, bytes], ...]:
        """Return property and header, for each header that passes."""
        ...


def answer_of(frame: Frame, route: ReplyRules) -> Answer:
    """Make the response of a reply. Raises :class:`Problem` ``bad-reply``, or what the worker's SDK said there is."""
    if frame.oversize or len(frame.body) > route.max_reply:
        raise _bad_reply(f"its body is over the route's limit of {route.max_reply} bytes")
    try:
        reply = ReplyMessage(frame)
        problem = reply.problem
        if problem is not None:
            raise _worker_problem(problem, reply)
        headers: Headers = []
        body = reply.body
        status = reply.status
        if status in NO_BODY:
            if body:
                raise _bad_reply(f"a {status} has no body")
        else:
            headers.append((b"content-type", reply.content_type.encode()))
            headers.append((b"content-length", b"%d" % len(body)))
        for name, header in route.returns:
            value = reply.property(name)
            if value is not None:
                headers.append((header, value.encode()))
        if status not in NO_BODY and unreadable(frame) and frame.raw("reply_kind") is None:
            raise _bad_reply(_UNREADABLE)
        return Answer(status, headers, body, reply.milliseconds("queue_ms"), reply.milliseconds("work_ms"))
    except MessageError as error:
        raise _bad_reply(str(error)) from None
    except RemoteProtocolError:
        raise _bad_reply("a header holds an undefined escape") from None


_UNREADABLE: Final = (
    "it is a Map, Object or Stream message, or an empty text of a JMS client, which looks the same; "
    "send a text or bytes, http_status 204 for no body, or reply_kind final for an empty one"
)


def _bad_reply(reason: str) -> Problem:
    return Problem("bad-reply", f"the worker's reply cannot be an HTTP answer: {reason}")


_WORKER_PROBLEMS: Final[Mapping[str, tuple[Ran, str]]] = {
    "worker-failed": ("yes", "the worker that took this call failed"),
    "worker-lost": ("maybe", "the worker that took this call was lost"),
    "poisoned": ("maybe", "this call's worker was lost as often as the route allows"),
    "bad-reply": ("yes", "the worker made a reply that cannot be sent"),
}


def _worker_problem(name: str, reply: ReplyMessage) -> Problem:
    ran, detail = _WORKER_PROBLEMS[name]
    attempts = reply.property("attempt") or ""
    is_number = attempts.isascii() and attempts.isdigit() and len(attempts) < 10
    return Problem(name, detail, ran, {"attempts": int(attempts)} if name == "poisoned" and is_number else {})
