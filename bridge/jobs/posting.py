"""Sends jobs' request messages, and sees to it that each one is confirmed: by the broker, then in the store.

The row is first, with all that is needed to send the message; then the message; then the row says that it was sent.
A bridge that dies in between leaves a row that says "not sent", and another one sends it when the lease is over. So a
message may be sent twice, and is never lost (docs/decisions/0009-jobs.md).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from activemq.errors import BufferFullError, LocalProtocolError, NotConnectedError, ServerError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from bridge.jobs.link import JobLink
    from bridge.jobs.model import Job, Request, Unsent
    from bridge.jobs.store import JobStore

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Posting:
    """A message on its way. ``confirmed`` is set with None, or with why the broker will not have it."""

    job: Job
    request: Request = field(repr=False)
    give_up: float  # the loop's time, seconds
    confirmed: asyncio.Future[Exception | None]


class PostOffice:
    """Messages on their way to the broker; ``timeout``: seconds for which this bridge tries to send one."""

    def __init__(self, link: JobLink, store: JobStore, timeout: float) -> None:
        self._link = link
        self._store = store
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._on_their_way: dict[str, Posting] = {}
        self._unmarked: set[str] = set()  # confirmed by the broker, and the store does not know it yet
        link.client.listen(self._connected, lambda _: None)

    @property
    def busy(self) -> Collection[str]:
        """Ids of jobs that nobody needs to send: we are at it, or it is done."""
        return self._on_their_way.keys() | self._unmarked

    def send(self, job: Job, request: Request) -> Posting:
        """Send a job's message, again if the connection is lost meanwhile.

        Raises, with nothing sent, :class:`NotConnectedError`, :class:`BufferFullError` or :class:`LocalProtocolError`.
        """
        posting = Posting(job, request, self._loop.time() + self._timeout, self._loop.create_future())
        self._link.publish(job, request, self._on_receipt)
        self._on_their_way[job.id] = posting
        return posting

    def send_again(self, left: Sequence[Unsent]) -> None:
        """Send what some bridge has left; what cannot be sent now is tried again with its next lease."""
        for unsent in left:
            try:
                self.send(unsent.job, unsent.request)
            except (NotConnectedError, BufferFullError):
                return
            except LocalProtocolError:
                log.exception("job %s cannot be sent", unsent.job.id)
            else:
                log.info("job %s: its message was not confirmed, and is sent again", unsent.job.id)

    def give_up(self) -> None:
        """Leave to the next lease what was not confirmed in time."""
        now = self._loop.time()
        for job_id, posting in tuple(self._on_their_way.items()):
            if posting.give_up <= now:
                del self._on_their_way[job_id]  # a receipt that still comes counts

    def mark(self) -> None:
        """Tell the store again what it could not be told before."""
        for job_id in tuple(self._unmarked):
            self._mark(job_id)

    def _on_receipt(self, job_id: str, error: Exception | None) -> None:
        posting = self._on_their_way.get(job_id)
        if error is None:
            self._on_their_way.pop(job_id, None)
            self._mark(job_id)
        elif isinstance(error, ServerError):
            self._on_their_way.pop(job_id, None)
            log.error("the broker refused job %s: %s", job_id, error.message)
        else:
            return  # lost on the way: it is sent again once there is a connection
        if posting is not None and not posting.confirmed.done():
            posting.confirmed.set_result(error)

    def _mark(self, job_id: str) -> None:
        self._unmarked.add(job_id)
        marked = self._store.sent(job_id, self._link.client.clock.now_ms())
        marked.add_done_callback(lambda done: self._is_marked(job_id, done))

    def _is_marked(self, job_id: str, done: asyncio.Future[None]) -> None:
        if not done.cancelled() and done.exception() is None:
            self._unmarked.discard(job_id)

    def _connected(self) -> None:
        self._link.forget_profile()
        for posting in tuple(self._on_their_way.values()):
            try:
                self._link.publish(posting.job, posting.request, self._on_receipt)
            except (NotConnectedError, BufferFullError):
                return  # the next connection, or the next lease
