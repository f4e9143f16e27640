"""`mqbridge key …`: options and help. What the command does is in `mqbridge.commands.key`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import Annotated

import typer

from mqbridge.examples import examples
from mqbridge.helping import make_app
from mqbridge.options import AsJson  # noqa: TC001 - as above

app = make_app(
    help="Keys of callers and of the operator.",
    epilog=examples("mqbridge key new shop"),
)


@app.command("new", epilog=examples("mqbridge key new shop --route words >> bridge.toml"))
def new_key(
    name: Annotated[str | None, typer.Argument(help="The caller's name.", show_default=False)] = None,
    admin: Annotated[bool, typer.Option("--admin", help="A key for the operator instead.")] = False,
    route: Annotated[
        list[str] | None, typer.Option(help="A route that the caller may call; may be given often.", show_default=False)
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(help="Write the key to this new file (mode 0600), and do not show it.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, and the table for the settings with its hash."""
    from mqbridge.commands.key import new_key as make

    make(name, admin=admin, routes=route or (), key_file=key_file, as_json=as_json)
