"""Which route a request is for, and the parameters in its path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from activemq.message import PATH_PREFIX, property_of
from bridge.figures import RouteFigures
from bridge.presence import Queue
from bridge.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from activemq.message import RequestEncoder
    from bridge.settings import Route

_PARAMETER: Final = re.compile(r"\{([^}]*)\}")
_ESCAPED_UNRESERVED: Final = re.compile(rb"%(?:2[Dd]|2[Ee]|3[0-9]|[46][1-9A-Fa-f]|5[0-9AaFf]|7[0-9AaEe])")
Parameters = tuple[tuple[str, str], ...]


class RouteCounts:
    """What is counted of a route, for as long as there is one of its name."""

    __slots__ = ("answered", "figures", "held", "since")

    def __init__(self) -> None:
        self.held = 0  # calls at this moment
        self.since: dict[str, float] = {}  # of those at the broker: id → the loop's time when they came, oldest first
        self.answered = 0
        self.figures = RouteFigures()


class ServedRoute:
    """A route as it is served: its settings, and what is worked out of them once."""

    __slots__ = ("counts", "encoded_for", "encoder", "max_reply", "passes", "queue", "returns", "settings")

    def __init__(self, settings: Route, queue: Queue | None = None, counts: RouteCounts | None = None) -> None:
        self.settings = settings
        self.queue = Queue(settings.queue) if queue is None else queue  # several routes may share one
        self.counts = counts or RouteCounts()
        self.encoder: RequestEncoder | None = None  # made when the broker, and so its profile, is known
        self.encoded_for = 0  # the generation of the connection whose reply destination it names
        self.max_reply = settings.max_reply  # bytes
        # request header → property, property → response header
        self.passes = {name.encode(): property_of(name) for name in settings.pass_headers}
        self.returns = tuple((property_of(name), name.encode()) for name in settings.pass_reply_headers)


class _Place:
    """One path template and the routes behind it, by method."""

    def __init__(self, template: str) -> None:
        self.routes: dict[str, ServedRoute] = {}
        self.names = tuple(PATH_PREFIX + name for name in _PARAMETER.findall(template))
        literal = _PARAMETER.split(template)[::2]
        # Anything else in a segment (%2f, %00, a comma, a wildcard) is no parameter and so no route.
        self.pattern = re.compile(rb"([A-Za-z0-9_-]{1,64})".join(re.escape(part.encode()) for part in literal))

    def pick(self, method: str) -> ServedRoute:
        route = self.routes.get(method)
        if route is None:
            allow = ", ".join(sorted(self.routes))
            raise Problem("method-not-allowed", f"this route takes {allow}", headers=((b"allow", allow.encode()),))
        return route


class Router:
    """The route table. Immutable: a new configuration makes a new one."""

    def __init__(self, routes: Iterable[ServedRoute]) -> None:
        self.routes = tuple(routes)
        places: dict[str, _Place] = {}
        for route in self.routes:
            place = places.setdefault(route.settings.path, _Place(route.settings.path))
            for method in route.settings.methods:
                place.routes[method] = route
        self._literal = {path.encode(): place for path, place in places.items() if not place.names}
        self._patterns = [place for place in places.values() if place.names]

    def renewed(self, routes: Iterable[Route], queues: Mapping[str, Queue]) -> Router:
        """Make the table of new settings. A route that is the same stays the same; a changed one keeps its counts."""
        before = {route.settings.name: route for route in self.routes}

        def served(settings: Route) -> ServedRoute:
            old = before.get(settings.name)
            if old is not None and old.settings == settings:
                return old
            return ServedRoute(settings, queues[settings.queue], None if old is None else old.counts)

        return Router(map(served, routes))

    def match(self, method: str, raw_path: bytes) -> tuple[ServedRoute, Parameters]:
        """Find the route for a path as it came, still percent-encoded.

        A literal path wins over one with parameters. Raises :class:`Problem` ``no-route`` or ``method-not-allowed``.
        """
        place = self._literal.get(raw_path)
        if place is not None:
            return place.pick(method), ()
        if b"%" in raw_path:  # %61 is an a (RFC 3986, 6.2.2.2); all other escapes stay what they are
            raw_path = _ESCAPED_UNRESERVED.sub(lambda m: bytes([int(m[0][1:], 16)]), raw_path)
            place = self._literal.get(raw_path)
            if place is not None:
                return place.pick(method), ()
        for place in self._patterns:
            found = place.pattern.fullmatch(raw_path)
            if found is not None:
                values = [value.decode() for value in found.groups()]
                return place.pick(method), tuple(zip(place.names, values, strict=True))
        raise Problem("no-route", "no route has this path")
