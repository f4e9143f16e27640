"""The command line as a page, from Typer."""

from __future__ import annotations

import typer
from typer.cli import get_docs_for_click

from mqbridge.cli import app


def render() -> str:
    """Return Markdown: each command with its arguments, options, defaults and environment variables."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="mqbridge")
    return text.partition("\n")[2]  # the page has a heading of its own
