"""`mqbridge send`: a call or a job, from the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.client import new_key
from mqbridge.calling import job_goes_on, show
from mqbridge.console import say
from mqbridge.following import show_progress
from mqbridge.jobs import print_job
from mqbridge.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.client import BridgeClient
    from mqbridge.outgoing import Outgoing

NEW_KEY = "new"  # instead of a key: any


@dataclass(frozen=True, slots=True)
class Showing:
    """How the answer is shown; see :func:`mqbridge.calling.show`."""

    output: Path | None
    include: bool
    as_json: bool


def call(client: BridgeClient, request: Outgoing, key: str | None, wait: int | None, showing: Showing) -> int:
    """Send it, wait for the worker's answer and print that; return the exit code. ``wait``: seconds to be held."""
    headers = request.headers | _keyed(key) | ({} if wait is None else {"Prefer": f"wait={wait}"})
    with Progress("waiting for the answer"):
        response = client.request(request.method, request.path, headers=headers, content=request.body)
    code = show(response, output=showing.output, include=showing.include, as_json=showing.as_json)
    if "location" in response.headers and response.headers.get("job-state") in ("queued", "running"):
        say(f"the job goes on: mqbridge jobs follow {response.headers['correlation-id']}")
    return code


def submit(client: BridgeClient, request: Outgoing, key: str | None, showing: Showing, *, detach: bool) -> int:
    """Make a job of it, show how far it is, and print its result; return the exit code.

    ``detach``: print the job instead.
    """
    headers = request.headers | _keyed(key)
    job = client.submit(request.method, request.path, headers=headers, content=request.body)
    if detach:
        print_job(job.state(), as_json=showing.as_json)
        return 0
    say(f"job {job.id}")
    with job_goes_on(job.id):
        show_progress(job.events())
        response = job.result()
    return show(response, output=showing.output, include=showing.include, as_json=showing.as_json)


def _keyed(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Idempotency-Key": new_key() if key == NEW_KEY else key}
