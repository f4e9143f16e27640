"""`mqbridge dlq …`: options and help. What the commands do is in `mqbridge.commands.dlq`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mqbridge.console import CommandError
from mqbridge.examples import examples
from mqbridge.helping import make_app
from mqbridge.options import DEFAULT_URL, AdminKeyFile, AsJson, Url

if TYPE_CHECKING:
    from mqbridge.commands.dlq import Desk

app = make_app(
    help="Look at dead letters, replay them or drop them, by way of a running bridge.",
    epilog=examples("MQBRIDGE_ADMIN_KEY=… mqbridge dlq list"),
)

Ids = Annotated[list[str] | None, typer.Argument(help="Ids, as `list` shows them.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="All that are there now, of the queues given by --queue.")]
Queues = Annotated[
    list[str] | None, typer.Option("--queue", "-q", help="A queue of dead letters; several.", show_default=False)
]
BodyTo = Annotated[Path | None, typer.Option(help="Write the body to this file, byte for byte.", dir_okay=False)]


def _desk(url: str, admin_key_file: Path | None) -> Desk:
    from mqbridge.commands.dlq import Desk
    from mqbridge.environment import admin_key

    return Desk(url, admin_key(admin_key_file))


def _check(ids: list[str] | None, everything: bool, queues: list[str] | None) -> None:
    if everything and (ids or not queues):
        raise CommandError("--all is of queues: give --queue QUEUE, and no ids", 2)
    if not everything and (queues or not ids):
        raise CommandError("give ids, as `mqbridge dlq list` shows them, or --all --queue QUEUE", 2)


@app.command("list", epilog=examples("mqbridge dlq list --queue orders.poison"))
def list_letters(
    queue: Queues = None,
    limit: Annotated[int, typer.Option(help="How many of each queue.", min=1, max=1_000_000)] = 50,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    admin_key_file: AdminKeyFile = None,
) -> None:
    """Show the queues of dead letters, and what is in them."""
    with _desk(url, admin_key_file) as desk:
        sys.exit(desk.overview(queue or [], limit, as_json=as_json))


@app.command(epilog=examples("mqbridge dlq show 'orders.poison~ID:…' --body-to body.bin"))
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")],
    body_to: BodyTo = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    admin_key_file: AdminKeyFile = None,
) -> None:
    """Show one dead letter, with its headers and its body."""
    with _desk(url, admin_key_file) as desk:
        sys.exit(desk.show(letter_id, body_to, as_json=as_json))


@app.command(epilog=examples("mqbridge dlq replay --all --queue orders.poison"))
def replay(
    ids: Ids = None,
    everything: All = False,
    queue: Queues = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    admin_key_file: AdminKeyFile = None,
) -> None:
    """Make a new job of each, then take it away. If anything dies in between, it is still there."""
    _check(ids, everything, queue)
    with _desk(url, admin_key_file) as desk:
        sys.exit(desk.replay(ids or [], queue or [], as_json=as_json))


@app.command(epilog=examples("mqbridge dlq drop 'orders.poison~ID:…'"))
def drop(
    ids: Ids = None,
    everything: All = False,
    queue: Queues = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = DEFAULT_URL,
    admin_key_file: AdminKeyFile = None,
) -> None:
    """Throw dead letters away, for good."""
    _check(ids, everything, queue)
    with _desk(url, admin_key_file) as desk:
        sys.exit(desk.drop(ids or [], queue or [], yes=yes))
