"""`mqbridge top`: what a bridge holds and who works for it, again and again."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mqbridge.asking import ask, bridge_at
from mqbridge.commands.gathering import Gatherer
from mqbridge.console import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

TIMEOUT = 5.0  # seconds


def watch(url: str, key: str, *, every: float, once: bool, as_json: bool) -> int:
    """Look at the bridge every so many seconds until interrupted; return the exit code.

    The first look has to succeed: :class:`CommandError` says what is wrong. A bridge that goes away later is shown as
    away, and looked for again.
    """
    console = Console(highlight=False)
    with Gatherer(lambda: bridge_at(url, key, TIMEOUT), look) as gatherer:
        status = gatherer.look()
        if once:
            _print(console, url, status, as_json=as_json)
            return 0
        with suppress(KeyboardInterrupt):
            if as_json:
                _lines(console, gatherer, url, status, every)
            else:
                _live(console, gatherer, url, status, every)
    return 0


def look(client: httpx.Client) -> dict[str, Any]:
    """Return what `/-/api/status` says. Raises :class:`CommandError`."""
    return ask(client, "GET", "/-/api/status", "routes")


def _lines(console: Console, gatherer: Gatherer, url: str, status: Mapping[str, Any], every: float) -> None:
    while True:
        _print(console, url, status, as_json=True)
        time.sleep(every)
        status = gatherer.look()


def _live(console: Console, gatherer: Gatherer, url: str, status: Mapping[str, Any], every: float) -> None:
    with Live(render(url, status), console=console, screen=console.is_terminal, auto_refresh=False) as live:
        while True:
            live.refresh()
            time.sleep(every)
            try:
                status = gatherer.look()
            except CommandError as error:
                live.update(Group(render(url, status), Text(str(error), "red")))
            else:
                live.update(render(url, status))


def _print(console: Console, url: str, status: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        console.print(json.dumps(status), markup=False, soft_wrap=True)
    else:
        console.print(render(url, status))


def render(url: str, status: Mapping[str, Any]) -> Group:
    """Return the table of the routes under a line on the bridge."""
    broker = status["broker"]
    line = Text(f"{url}  ")
    line.append("ready" if status["ready"] else "not ready", "green" if status["ready"] else "red")
    line.append(f", broker {'connected' if broker['connected'] else 'away'}, {status['held']} held")
    if "processes" in status:
        line.append(f", {len(status['processes'])} of {status['of']} processes")
    if status["draining"]:
        line.append(", draining", "yellow")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("route", "queue"):
        table.add_column(name, no_wrap=True)
    for name in ("listeners", "held", "oldest", "backlog", "answered", "per s"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for route in status["routes"]:
        table.add_row(*_row(route))
    return Group(line, table)


def _row(route: Mapping[str, Any]) -> list[Text]:
    listeners, oldest = route["listeners"], route["oldest_held_seconds"]
    return [
        Text(route["name"]),
        Text(route["queue"]),
        Text("?") if listeners is None else Text(str(listeners), "" if listeners else "red"),
        Text(str(route["held"])),
        Text("–" if oldest is None else f"{oldest:.1f} s"),
        Text(f"{route['backlog']}/{route['max_backlog']}"),
        Text(str(route["answered"])),
        Text(f"{route['answers_per_second']:.1f}"),
    ]
