"""What all processes of a bridge say, as one: each answers for itself only (docs/http.md)."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, Self

from mqbridge.console import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import httpx

    Status = dict[str, Any]

# Which process a new connection comes to is chance; of N the last is found after N × ln N on average.
TRIES: Final = 16  # for each process


class Gatherer:
    """Keeps a connection to each process of a bridge, once chance has found it.

    ``connect`` makes a client with one connection; ``look`` asks it for the status, and raises :class:`CommandError`.
    """

    def __init__(self, connect: Callable[[], httpx.Client], look: Callable[[httpx.Client], Status]) -> None:
        self._connect = connect
        self._look = look
        self._clients: dict[int, httpx.Client] = {}  # by the process's number

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            for client in self._clients.values():
                stack.callback(client.close)
        self._clients.clear()

    def look(self) -> Status:
        """Return the status of all. Raises :class:`CommandError` if there is none to be had."""
        found: dict[int, Status] = {}
        lost: CommandError | None = None
        for client in [self._clients.pop(number) for number in tuple(self._clients)]:
            try:
                self._ask(client, found)
            except CommandError as error:
                lost = error
        if lost is not None and not found:
            raise lost
        wanted = max(map(_of, found.values()), default=1)
        for _ in range(TRIES * wanted):
            if len(found) >= wanted:
                break
            self._ask(self._connect(), found)
            wanted = max(map(_of, found.values()))
        return together([found[number] for number in sorted(found)], wanted)

    def _ask(self, client: httpx.Client, found: dict[int, Status]) -> None:
        """Keep the client if it leads to a process that is not known yet."""
        kept = False
        try:
            status = self._look(client)
            number = int(status.get("process", {}).get("number", 1))
            kept = number not in found
            if kept:
                found[number] = status
                self._clients[number] = client
        finally:
            if not kept:
                client.close()


def _of(status: Mapping[str, Any]) -> int:
    return int(status.get("process", {}).get("of", 1))


def together(statuses: Sequence[Status], wanted: int) -> Status:
    """Return one status for several processes; a single one's is as it is.

    ``wanted``: how many there should be. What was not found is missing from the sums, and ``ready`` is false then.
    """
    if wanted == 1:
        return statuses[0]
    routes: dict[str, list[Status]] = {}
    for status in statuses:
        for route in status["routes"]:
            routes.setdefault(route["name"], []).append(route)
    return {
        "ready": len(statuses) == wanted and all(status["ready"] for status in statuses),
        "broker": {name: all(status["broker"][name] for status in statuses) for name in ("connected", "presence")},
        "draining": any(status["draining"] for status in statuses),
        "held": sum(status["held"] for status in statuses),
        "body_memory": sum(status["body_memory"] for status in statuses),
        "routes": [_route(found) for found in routes.values()],
        "of": wanted,
        "processes": list(statuses),
    }


def _route(found: Sequence[Status]) -> Status:
    """Add up a route of several processes. All see the same listeners, as far as they know."""
    summed = ("held", "backlog", "max_backlog", "answered", "answers_per_second")
    largest = ("oldest_held_seconds", "listeners")
    return {
        **found[0],
        **{name: sum(route[name] for route in found) for name in summed},
        **{name: max((route[name] for route in found if route[name] is not None), default=None) for name in largest},
    }
