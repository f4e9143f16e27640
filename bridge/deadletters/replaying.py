"""From a dead letter to the job that is made of it. Pure: no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from activemq.errors import MessageError, ProtocolError
from activemq.message import HEADER_PREFIX, MAX_PROPERTY, PATH_PREFIX, RequestMessage, property_size
from bridge.deadletters.letter import original_queue
from bridge.jobs.making import own_properties, rules_of
from bridge.jobs.model import MAX_CALLER, Request
from bridge.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from activemq import Frame
    from activemq.brokers import Profile
    from bridge.routing import ServedRoute

# Only names that every broker and JMS take as a plain property: nothing else may come near a connection that all share.
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,254}")
# STOMP's and ActiveMQ's own words, and those that the job has its own values for.
_NOT_COPIED: Final = frozenset(
    {
        *("destination", "receipt", "transaction", "ack", "id", "subscription", "selector", "browser", "redelivered"),
        *("expires", "expiration", "priority", "timestamp", "persistent", "type", "transformation"),
        *("attempt", "max_attempts", "redeliver", "max_reply", "caller", "reply_kinds", "started_after_ms"),
        *("deadline_ms", "budget_ms", "original_queue", "original_reply_to", "original_expires", "left_out"),
        *("http_method", "http_target"),  # these are set in any case
    }
)
_NOT_COPIED_PREFIXES: Final = ("JMS", "AMQ", "_AMQ", "_HQ", "__")
_MOST_PROPERTIES: Final = 900  # brokers take 1,000 headers
_DEFAULT_PRIORITY: Final = 4
_METHOD: Final = re.compile(r"[A-Z]{1,16}")
_TARGET: Final = re.compile(r"/[!-~]*")


@dataclass(frozen=True, slots=True)
class Replay:
    """What to make a job of: the route that it belongs to, its message, whose it is, and the request that it was."""

    route: ServedRoute
    request: Request
    caller: str
    method: str
    target: str


def replay_of(frame: Frame, queue: str, profile: Profile, routes: Iterable[ServedRoute]) -> Replay:
    """Say what the job of a dead letter is. Raises :class:`Problem` ``not-replayable`` with the reason."""
    if frame.oversize:
        raise _refused(f"its body of {frame.oversize} bytes is over this bridge's broker.max_frame")
    message = RequestMessage(frame)
    try:
        left_out = message.text("left_out")
        headers = frame.headers
        caller = message.text("caller") or ""
        priority = message.number("priority")
    except MessageError:
        priority = None
    except ProtocolError:
        raise _refused("its headers cannot be read") from None
    if len(caller) > MAX_CALLER:
        raise _refused(f"its caller's name is over {MAX_CALLER} characters")
    if left_out is not None:
        raise _refused(f"it was parked without {left_out[:200]!r}, which no broker takes")
    route = _route_of(message, original_queue(message, queue, profile), routes)
    settings = route.settings
    method, target = _call_of(headers, route)
    copied = _copied(headers, profile.epitaph_properties)
    request = Request(
        queue=settings.queue,
        priority=min(_DEFAULT_PRIORITY if priority is None else priority, settings.priority_ceiling),
        properties=(
            *own_properties(settings, rules_of(route)),
            *([("caller", _checked("caller", caller))] if caller else []),
            ("http_method", method),
            ("http_target", target),
            *copied,
        ),
        body=frame.body,
        text=frame.raw("content-length") is None and b"\0" not in frame.body,
    )
    return Replay(route, request, caller, method, target)


def _route_of(message: RequestMessage, queue: str | None, routes: Iterable[ServedRoute]) -> ServedRoute:
    """Return the route that a message was sent for: it must still send to the queue that the message was in.

    A bridge writes the route's name on its messages. Of others' it is clear only where one route has the queue.
    """
    if queue is None:
        raise _refused("nobody has written down which queue it was in")
    reading = [route for route in routes if route.settings.queue == queue]
    if message.text("http_method") is not None:
        name = message.text("type") or ""
        found = [route for route in reading if route.settings.name == name]
        if not found:
            raise _refused(f"this bridge has no route {name[:80]!r} to the queue {queue!r} (any more)")
    else:
        found = reading
        if len(found) != 1:
            what = "no route" if not found else f"{len(found)} routes"
            raise _refused(f"no bridge sent it, and this one has {what} to the queue {queue!r}")
    return found[0]


def _call_of(headers: dict[str, str], route: ServedRoute) -> tuple[str, str]:
    """Return method and target of the call; for a message that was none, what a call of its route would have."""
    settings = route.settings
    method, target = headers.get("http_method", ""), headers.get("http_target", "")
    if not _METHOD.fullmatch(method):
        method = "POST" if "POST" in settings.methods else min(settings.methods)
    if not _TARGET.fullmatch(target) or property_size(target) > MAX_PROPERTY:
        target = settings.path
    return method, target


def _copied(headers: dict[str, str], epitaph: frozenset[str]) -> list[tuple[str, str]]:
    copied = [(name, _checked(name, value)) for name, value in headers.items() if _is_copied(name, epitaph)]
    if "content_type" not in headers and "content-type" in headers:
        copied.append(("content_type", _checked("content-type", headers["content-type"])))
    if len(copied) > _MOST_PROPERTIES:
        raise _refused(f"it has {len(copied)} properties; brokers take about 1,000")
    return copied


def _is_copied(name: str, epitaph: frozenset[str]) -> bool:
    if name in _NOT_COPIED or name in epitaph or name.startswith(_NOT_COPIED_PREFIXES):
        return False
    # A header's or a parameter's name may hold more than JMS allows, as the bridge sends it itself.
    if name.startswith((HEADER_PREFIX, PATH_PREFIX)):
        return re.fullmatch(r"[!#$%&'*+.^`|~\w-]{1,255}", name, re.ASCII) is not None
    return _PLAIN_NAME.fullmatch(name) is not None


def _checked(name: str, value: str) -> str:
    if "\0" in value:
        raise _refused(f"its property {name[:80]!r} holds a NUL")
    if property_size(value) > MAX_PROPERTY:
        raise _refused(f"its property {name[:80]!r} is over {MAX_PROPERTY} bytes")
    return value


def _refused(reason: str) -> Problem:
    return Problem("not-replayable", f"this dead letter cannot be replayed: {reason}")
