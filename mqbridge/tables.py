"""Tables on a terminal. What is in them came from anybody: nothing of it reaches the terminal as a command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WIDTH: Final = 1_000  # ids are there to be copied: a terminal may break a line, we do not cut one


def printable(text: str, keep: str = "") -> str:
    """Return a text with all that is not printable escaped, but for the characters in ``keep``."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def make_table(*names: str, right: Sequence[str]) -> Table:
    """Return a table with these columns, and behind them those that are flush right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, no_wrap=True, justify="right")
    return table


def add_row(table: Table, cells: Iterable[str]) -> None:
    """Add a row."""
    table.add_row(*(Text(printable(cell)) for cell in cells))


def print_table(table: Table) -> None:
    """Print it on standard output."""
    Console(width=_WIDTH, highlight=False, file=sys.stdout).print(table)
