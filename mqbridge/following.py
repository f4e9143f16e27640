"""A job's events on a terminal, or in a pipe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from mqbridge.progress import Progress
from mqbridge.tables import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.client import Event

_WORDS: Final = 200  # characters of an event's data in a line
_OF: Final = ("of", "total")


def print_events(events: Iterable[Event], *, as_json: bool) -> bool:
    """Print each event as it comes; return whether the last one was ``done``."""
    last = None
    for event in events:
        last = event
        if as_json:
            print(json.dumps({"id": event.id, "event": event.name, "data": event.data}), flush=True)
        else:
            number = "–" if event.id is None else event.id
            print(f"{number:>4}  {printable(event.name):<8}  {_words(event.data)}", flush=True)
    return last is None or last.name == "done"


def show_progress(events: Iterable[Event]) -> None:
    """Show how far the job is, as a bar where its worker says ``done`` and ``of`` (or ``total``), until it is over."""
    with Progress("working") as progress:
        for event in events:
            if event.name == "started":
                progress.now = f"attempt {event.data.get('attempt', 1)}" if isinstance(event.data, dict) else ""
            elif event.name == "progress":
                done, of = _how_far(event.data)
                progress.done, progress.total = done, of
                progress.now = _words(event.data) if of is None else ""


def _how_far(data: Any) -> tuple[float, float | None]:  # noqa: ANN401 - whatever a worker says
    if isinstance(data, dict) and isinstance(done := data.get("done"), int | float):
        of = next((data[name] for name in _OF if isinstance(data.get(name), int | float)), None)
        return done, of
    return 0, None


def _words(data: object) -> str:
    text = printable(json.dumps(data, ensure_ascii=False))
    return text if len(text) <= _WORDS else f"{text[:_WORDS]} …"
