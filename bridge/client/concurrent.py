"""The client for asyncio and Trio."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Unpack

import anyio
import httpx

from bridge.client.blocking import BASE
from bridge.client.errors import unexpected
from bridge.client.events import aiter_events
from bridge.client.jobs import CONNECT, Deadline, Following, Reading, asks_for_job, is_open, job_of, path_of
from bridge.client.transport import DEADLINE, AsyncBridgeTransport

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Iterable

    from bridge.client.events import Event
    from bridge.client.jobs import Options


class AsyncBridgeClient(httpx.AsyncClient):
    """An ``httpx.AsyncClient`` for the bridges at some addresses.

    A request's URL is its path: ``await client.post("/words")``. See :class:`AsyncBridgeTransport` for what is
    sent again, and docs/client.md.
    """

    def __init__(
        self,
        addresses: str | Iterable[str],
        *,
        auth: httpx.Auth | None = None,
        deadline: float = DEADLINE,
        max_pause: float | None = None,
        verify: ssl.SSLContext | bool = True,
        timeout: httpx.Timeout | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Take what :class:`BridgeTransport` takes, and what each attempt needs.

        ``verify``: of TLS, with the caller's certificate if it has one. ``timeout``: of each attempt; usually 5 s to
        connect, and else the deadline. Raises ValueError for an address that is none.
        """
        inner = transport or httpx.AsyncHTTPTransport(verify=verify)
        super().__init__(
            base_url=BASE,
            auth=auth,
            timeout=timeout or httpx.Timeout(None, connect=CONNECT),
            transport=AsyncBridgeTransport(addresses, deadline=deadline, max_pause=max_pause, transport=inner),
        )
        self._deadline = deadline

    async def call(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        deadline: float | None = None,
        **options: Unpack[Options],
    ) -> httpx.Response:
        """Send a request and return the worker's answer, also where the bridge makes a job of it.

        ``deadline``: seconds for all of it; ``options``: as httpx takes them. Raises as httpx, and as :meth:`follow`.
        """
        limit = Deadline(self._deadline if deadline is None else deadline)
        response = await self.request(method, path, headers=headers, extensions={"deadline": limit.left}, **options)
        return await self.follow(response, deadline=limit.left)

    async def follow(self, response: httpx.Response, *, deadline: float | None = None) -> httpx.Response:
        """Wait for the end of the job that ``response`` is about; return the answer that a held call would have had.

        An answer that is no open job's is returned as it is. Raises :class:`httpx.ReadTimeout` at the end of
        ``deadline`` (seconds; the job goes on), :class:`JobError` if there is no such job.
        """
        job_id = job_of(response)
        if job_id is None or not is_open(response):
            return response
        return await self.job(job_id).result(deadline=deadline)

    async def submit(
        self,
        method: str,
        path: str,
        *,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
        **options: Unpack[Options],
    ) -> AsyncJob:
        """Make a job and return it at once.

        With a key (:func:`new_key`) the request is sent again if nobody knows whether it was taken; without one it is
        not. ``options``: as httpx takes them. Raises :class:`JobError` if there is no job now.
        """
        response = await self.request(method, path, headers=asks_for_job(headers, idempotency_key), **options)
        job_id = job_of(response)
        if job_id is None:
            raise unexpected(f"{method} {path} made no job", response)
        return AsyncJob(self, job_id)

    def job(self, job_id: str) -> AsyncJob:
        """Return a job by its id. Raises ValueError for what is no id."""
        path_of(job_id)
        return AsyncJob(self, job_id)

    @property
    def deadline(self) -> float:
        """Seconds that a request may take unless it says otherwise."""
        return self._deadline


class AsyncJob:
    """A job, wherever it is made. Deadlines are in seconds; without one they are the client's."""

    def __init__(self, client: AsyncBridgeClient, job_id: str) -> None:
        self._client = client
        self.id = job_id

    def __repr__(self) -> str:
        return f"<Job {self.id}>"

    async def state(self) -> dict[str, Any]:
        """Return the job's JSON. Raises :class:`JobError` if there is none."""
        response = await self._client.get(path_of(self.id))
        if response.status_code != httpx.codes.OK:
            raise unexpected(f"job {self.id}", response)
        document: dict[str, Any] = response.json()
        return document

    async def result(self, *, deadline: float | None = None) -> httpx.Response:
        """Wait for the job's end; return the answer. Raises as :meth:`AsyncBridgeClient.follow`."""
        following = Following(self.id, self._limit(deadline))
        while True:
            response = await self._client.get(following.path, **following.options())
            pause = following.pause(response)
            if pause is None:
                return response
            await anyio.sleep(pause)

    async def events(self, *, after: int | None = None, deadline: float | None = None) -> AsyncGenerator[Event]:
        """Give the job's events up to its end, over as many connections as it takes; behind the one ``after``.

        Raises :class:`httpx.TransportError` at the end of ``deadline``, :class:`JobError` if the events cannot be had.
        """
        reading = Reading(self.id, after, self._limit(deadline))
        while True:
            lost: httpx.TransportError = httpx.ReadTimeout(f"job {self.id} goes on, but the deadline is over")
            try:
                async with self._client.stream("GET", reading.path, **reading.options()) as response:
                    if response.status_code == httpx.codes.NO_CONTENT:
                        return
                    if response.status_code != httpx.codes.OK:
                        await response.aread()
                        raise unexpected(f"events of job {self.id}", response)
                    async with aclosing(aiter_events(response)) as events:
                        async for event in events:
                            reading.seen(event)
                            yield event
                            if event.is_last:
                                return
            except httpx.TransportError as error:
                lost = error
            pause = reading.pause()
            if pause is None:
                raise lost
            await anyio.sleep(pause)

    async def cancel(self) -> bool:
        """Cancel it; False if it was over already. Raises :class:`JobError` if there is none."""
        response = await self._client.delete(path_of(self.id))
        if response.status_code not in (httpx.codes.NO_CONTENT, httpx.codes.CONFLICT):
            raise unexpected(f"job {self.id}", response)
        return response.status_code == httpx.codes.NO_CONTENT

    def _limit(self, deadline: float | None) -> Deadline:
        return Deadline(self._client.deadline if deadline is None else deadline)
