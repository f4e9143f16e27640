"""How help looks: plain text of whole words, as Typer's tables cut names of options and variables at 80 columns."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup


class Group(TyperGroup):
    """Lists its commands with the whole first paragraph of what each says of itself, on as many lines as that takes."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - Click's, which Typer has a copy of
        """Write the list to ``formatter``."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [
            (name, " ".join((command.help or "").partition("\n\n")[0].split()))
            for name, command in found
            if command is not None
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def make_app(**options: Any) -> typer.Typer:  # noqa: ANN401 - what Typer takes
    """Make a group of commands, or the whole command line."""
    return typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode=None, **options)
