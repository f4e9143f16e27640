"""`mqbridge jobs`: what a caller does with his own jobs, and the operator with all."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

import httpx

from bridge.client import problem_of
from mqbridge.asking import RefusedError, ask
from mqbridge.calling import job_goes_on, show
from mqbridge.console import CommandError, say
from mqbridge.following import print_events
from mqbridge.jobs import print_job, print_jobs, step_line
from mqbridge.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bridge.client import BridgeClient

AT: Final = "/-/api/jobs"
PAGE: Final = 200
TIMEOUT: Final = 30.0  # seconds
LOOK_EVERY: Final = 1.0  # seconds
_OPEN: Final = frozenset({"queued", "running"})


class Jobs(Protocol):
    """The commands that both have. Each returns an exit code and raises :class:`CommandError`."""

    def show(self, job_id: str, *, as_json: bool) -> int:
        """Print one job."""
        ...

    def result(self, job_id: str, *, wait: bool, output: Path | None, as_json: bool) -> int:
        """Print the answer of a job."""
        ...

    def cancel(self, ids: Sequence[str]) -> int:
        """Cancel some."""
        ...

    def follow(self, job_id: str, after: int | None, *, as_json: bool) -> int:
        """Print what happens to a job until it is over."""
        ...


class Own:
    """A caller's own jobs: see :class:`Jobs`."""

    def __init__(self, client: BridgeClient) -> None:
        self._client = client

    def show(self, job_id: str, *, as_json: bool) -> int:
        """See :class:`Jobs`."""
        print_job(self._client.job(job_id).state(), as_json=as_json)
        return 0

    def result(self, job_id: str, *, wait: bool, output: Path | None, as_json: bool) -> int:
        """See :class:`Jobs`."""
        job = self._client.job(job_id)
        if not wait and job.state()["state"] in _OPEN:
            raise _not_over(job_id)
        with Progress("waiting for its end"), job_goes_on(job_id):
            response = job.result()
        return show(response, output=output, include=False, as_json=as_json)

    def cancel(self, ids: Sequence[str]) -> int:
        """See :class:`Jobs`."""
        late = [job_id for job_id in ids if not self._client.job(job_id).cancel()]
        return _cancelled(ids, late)

    def follow(self, job_id: str, after: int | None, *, as_json: bool) -> int:
        """See :class:`Jobs`."""
        with job_goes_on(job_id):
            return 0 if print_events(self._client.job(job_id).events(after=after), as_json=as_json) else 1


class All:
    """All jobs, for the operator: see :class:`Jobs`."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def list(self, state: str | None, route: str | None, limit: int, *, as_json: bool) -> int:
        """Print the newest ones. Raises :class:`CommandError`."""
        jobs: list[dict[str, Any]] = []
        before: str | None = None
        with Progress("looking at jobs"):
            while len(jobs) <= limit:
                wanted = {"state": state, "route": route, "before": before, "limit": str(min(limit + 1, PAGE))}
                query = httpx.QueryParams({name: value for name, value in wanted.items() if value is not None})
                page = ask(self._client, "GET", f"{AT}?{query}", "jobs")
                jobs += page["jobs"]
                before = page["next"]
                if before is None:
                    break
        if as_json:
            print(json.dumps({"jobs": jobs[:limit], "more": len(jobs) > limit}))
        else:
            print_jobs(jobs[:limit], more=len(jobs) > limit)
        return 0

    def show(self, job_id: str, *, as_json: bool) -> int:
        """See :class:`Jobs`."""
        print_job(self._look(job_id), as_json=as_json)
        return 0

    def result(self, job_id: str, *, wait: bool, output: Path | None, as_json: bool) -> int:
        """See :class:`Jobs`. The bridge shows an operator at most 64 KiB of it, as JSON."""
        if output is not None:
            raise CommandError("--output is for the caller's own jobs: an operator sees the beginning only", 2)
        with Progress("waiting for its end"), job_goes_on(job_id):
            while self._look(job_id)["state"] in _OPEN:
                if not wait:
                    raise _not_over(job_id)
                time.sleep(LOOK_EVERY)
        response = self._client.get(f"{AT}/{job_id}/result")
        if problem_of(response) is not None:
            return show(response, output=None, include=False, as_json=as_json)
        answer = response.json()
        if as_json:
            print(json.dumps(answer))
        else:
            print_job({name: value for name, value in answer.items() if name != "headers"}, as_json=False)
        return 0 if answer["status"] < httpx.codes.BAD_REQUEST else 1

    def cancel(self, ids: Sequence[str]) -> int:
        """See :class:`Jobs`."""
        late = []
        for job_id in ids:
            try:
                ask(self._client, "DELETE", f"{AT}/{job_id}")
            except RefusedError as error:
                if error.name != "job-final":
                    raise
                late.append(job_id)
        return _cancelled(ids, late)

    def follow(self, job_id: str, after: int | None, *, as_json: bool) -> int:
        """See :class:`Jobs`: an operator sees what happened, and nothing of what was said."""
        if after is not None:
            raise CommandError("--after is for the caller's own jobs", 2)
        seen = 0
        with job_goes_on(job_id):
            while True:
                job = self._look(job_id)
                for step in job["timeline"][seen:]:
                    print(json.dumps(step) if as_json else step_line(step), flush=True)
                seen = len(job["timeline"])
                if job["state"] not in _OPEN:
                    return 0 if job["state"] == "done" else 1
                time.sleep(LOOK_EVERY)

    def _look(self, job_id: str) -> dict[str, Any]:
        return ask(self._client, "GET", f"{AT}/{job_id}", "timeline")


def _not_over(job_id: str) -> CommandError:
    return CommandError(f"job {job_id} is not over: --wait waits for it, `mqbridge jobs follow` shows how far it is")


def _cancelled(ids: Sequence[str], late: Sequence[str]) -> int:
    for job_id in late:
        say(f"{job_id}: is over already")
    say(f"{len(ids) - len(late)} cancelled")
    return 1 if late else 0
