"""A bridge without jobs: no route makes any, and there is no store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from bridge.exchange import Exchange
from bridge.jobs.service import JobService
from bridge.problems import Problem

if TYPE_CHECKING:
    from activemq import Client
    from bridge.jobs.model import Job, Request
    from bridge.wheel import Wheel


class NoJobs(JobService):
    """Stands where the jobs would. Its routes must have ``async = "never"`` and ``idempotency = "off"``."""

    def __init__(self, client: Client, wheel: Wheel) -> None:
        # Not super's: of what that makes only this is looked at from outside.
        self.name = ""
        self.client = client
        self.holders: Exchange[Job] = Exchange(wheel)
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self) -> None:
        """See :class:`JobService`."""
        self.settled.set_result(None)

    async def stop(self) -> None:
        """See :class:`JobService`."""

    @property
    def ready(self) -> bool:
        """Nothing is waited for."""
        return True

    async def submit(self, job: Job, request: Request) -> NoReturn:  # noqa: ARG002 - as its super has them
        """Refuse: a route that makes jobs is a defect here."""
        raise AssertionError(f"a job of route {job.route!r}, and there is no store")

    async def get(self, job_id: str, caller: str) -> NoReturn:  # noqa: ARG002 - as its super has them
        """Raise :class:`Problem` ``no-job``."""
        raise Problem("no-job", "nothing here makes jobs")

    async def cancel(self, job_id: str, caller: str) -> NoReturn:
        """Raise :class:`Problem` ``no-job``."""
        await self.get(job_id, caller)
