"""`mqbridge jobs …`: options and help. What the commands do is in `mqbridge.commands.jobs`."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from mqbridge.examples import examples
from mqbridge.helping import make_app
from mqbridge.options import DEFAULT_URL, DEFAULT_URLS, AdminKeyFile, AsJson, KeyFile, Output, Url, Urls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mqbridge.commands.jobs import Jobs

app = make_app(
    help="Look at jobs, wait for them, cancel them, by way of a running bridge. With the admin key: all callers' jobs.",
    epilog=examples("mqbridge jobs list --state running", "mqbridge jobs follow 8c1f0d4e2b7a4c55a0e6b1c2d3e4f506"),
)


def _checked(given: str | list[str]) -> str | list[str]:
    for job_id in [given] if isinstance(given, str) else given:
        if not _ID.fullmatch(job_id):
            raise typer.BadParameter(f"{job_id!r} is no job's id: 32 of 0-9 and a-f, as `send --async` prints it")
    return given


_ID = re.compile(r"[0-9a-f]{32}")
Id = Annotated[str, typer.Argument(metavar="ID", help="The job's id.", callback=_checked)]
Timeout = Annotated[float, typer.Option(help="Seconds to wait.", min=0.1)]


@contextmanager
def _jobs(url: list[str], key_file: Path | None, admin_key_file: Path | None, timeout: float) -> Iterator[Jobs]:
    """Give a caller's own jobs if there is his key, else all if there is the operator's, else an open bridge's."""
    from mqbridge.asking import bridge_at
    from mqbridge.calling import caller
    from mqbridge.commands import jobs
    from mqbridge.environment import caller_key, operators_key

    operator = None if key_file or (caller_key(None) and not admin_key_file) else operators_key(admin_key_file)
    if operator is None:
        with caller(url, key_file, timeout, patient=True) as client:
            yield jobs.Own(client)
        return
    with bridge_at(url[0], operator, jobs.TIMEOUT) as asking:
        yield jobs.All(asking)


@app.command("list", epilog=examples("mqbridge jobs list --state failed --route words", "mqbridge jobs list --json"))
def list_jobs(
    state: Annotated[
        str | None,
        typer.Option(help="queued, running, done, failed, expired or cancelled.", show_default=False),
    ] = None,
    route: Annotated[str | None, typer.Option(help="A route's name.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1, max=100_000)] = 50,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    admin_key_file: AdminKeyFile = None,
) -> None:
    """Show all callers' jobs, for the operator."""
    from mqbridge.asking import bridge_at
    from mqbridge.commands import jobs
    from mqbridge.environment import admin_key

    with bridge_at(url, admin_key(admin_key_file), jobs.TIMEOUT) as client:
        sys.exit(jobs.All(client).list(state, route, limit, as_json=as_json))


@app.command(epilog=examples("mqbridge jobs show 8c1f0d4e2b7a4c55a0e6b1c2d3e4f506 --json"))
def show(
    job_id: Id,
    as_json: AsJson = False,
    url: Urls = DEFAULT_URLS,
    key_file: KeyFile = None,
    admin_key_file: AdminKeyFile = None,
) -> None:
    """Show one job."""
    with _jobs(url, key_file, admin_key_file, 30.0) as jobs:
        sys.exit(jobs.show(job_id, as_json=as_json))


@app.command(epilog=examples("mqbridge jobs result 8c1f0d4e2b7a4c55a0e6b1c2d3e4f506 --wait --output result.bin"))
def result(
    job_id: Id,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end.")] = False,
    output: Output = None,
    as_json: AsJson = False,
    timeout: Timeout = 3_600.0,
    url: Urls = DEFAULT_URLS,
    key_file: KeyFile = None,
    admin_key_file: AdminKeyFile = None,
) -> None:
    """Print the answer of a job that is over."""
    with _jobs(url, key_file, admin_key_file, timeout) as jobs:
        sys.exit(jobs.result(job_id, wait=wait, output=output, as_json=as_json))


@app.command(epilog=examples("mqbridge jobs cancel 8c1f0d4e2b7a4c55a0e6b1c2d3e4f506"))
def cancel(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="The ids of jobs.", callback=_checked)],
    url: Urls = DEFAULT_URLS,
    key_file: KeyFile = None,
    admin_key_file: AdminKeyFile = None,
) -> None:
    """Cancel jobs. Those that wait never run; a handler that runs is told."""
    with _jobs(url, key_file, admin_key_file, 30.0) as jobs:
        sys.exit(jobs.cancel(ids))


@app.command(epilog=examples("mqbridge jobs follow 8c1f0d4e2b7a4c55a0e6b1c2d3e4f506 --json | jq .data"))
def follow(
    job_id: Id,
    after: Annotated[
        int | None, typer.Option(help="Begin behind the event with this id.", min=0, show_default=False)
    ] = None,
    as_json: AsJson = False,
    timeout: Timeout = 3_600.0,
    url: Urls = DEFAULT_URLS,
    key_file: KeyFile = None,
    admin_key_file: AdminKeyFile = None,
) -> None:
    """Print what happens to a job, line by line, until it is over; goes on where it was if the bridge is lost."""
    with _jobs(url, key_file, admin_key_file, timeout) as jobs:
        sys.exit(jobs.follow(job_id, after, as_json=as_json))
