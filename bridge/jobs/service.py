"""Jobs, all told: made, joined, waited for, cancelled. What endpoints talk to."""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from activemq.errors import BufferFullError, LocalProtocolError, NotConnectedError
from bridge.exchange import End, Exchange
from bridge.jobs.followers import Followers
from bridge.jobs.keeper import Keeper
from bridge.jobs.link import JobLink
from bridge.jobs.membership import Membership
from bridge.jobs.model import Job, NewJob, Request
from bridge.jobs.posting import PostOffice
from bridge.jobs.replies import ReplyKeeper
from bridge.jobs.results import CANCELLED, refusal
from bridge.jobs.store import StoreRefusedError, StoreUnavailableError
from bridge.problems import Problem, retry_later

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine

    from activemq import Client
    from bridge.exchange import Held
    from bridge.jobs.posting import Posting
    from bridge.jobs.store import JobStore
    from bridge.problems import Ran
    from bridge.wheel import Wheel

T = TypeVar("T")
log = logging.getLogger(__name__)

_OPEN_AGAIN_AFTER: Final = 1.0  # seconds
_LOOK_AGAIN_AFTER: Final = 0.05  # seconds
_SPARE: Final = 2_000  # ms between our giving a message up and another bridge's taking it over


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that a request made (``posting``: its message on the way), or one that had its key already."""

    job: Job
    posting: Posting | None


class _Running:
    """What is there once the store is open."""

    def __init__(self, service: JobService, store: JobStore, client: Client, publish_timeout: float) -> None:
        self.store = store
        self.replies = ReplyKeeper(client, store, service.settled_here, service.told_here, service.withdraw)
        self.link = JobLink(client, store.id, self.replies.on_reply, service.look_at, self._heard)
        self.office = PostOffice(self.link, store, publish_timeout)
        self.membership = Membership(store, self.link, service.name)
        lease_ms = round(2 * publish_timeout * 1_000) + _SPARE
        self.keeper = Keeper(service, store, self.office, self.replies, self.membership, lease_ms)
        self.lease_ms = lease_ms

    def _heard(self, word: str, to: str, by: str) -> None:
        self.membership.heard(word, to, by)


class JobService:
    """The jobs of one bridge.

    ``client`` is not the held calls' own, and its life is the owner's; ``publish_timeout`` in seconds; ``withdraw``
    tells the workers that nobody wants a job any more. ``holders`` are the callers who
    wait here for a job, under names of their own: several may wait for one.
    """

    def __init__(
        self, store: JobStore, client: Client, wheel: Wheel, publish_timeout: float, withdraw: Callable[[str], None]
    ) -> None:
        self.name = secrets.token_hex(8)
        self.client = client
        self.holders: Exchange[Job] = Exchange(wheel)
        self.followers = Followers(store)
        self.withdraw = withdraw  # tells the workers
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._store = store
        self._publish_timeout = publish_timeout
        self._waiting: dict[str, set[str]] = {}  # job → names of holders
        self._undo: dict[str, int] = {}  # jobs that may be written although their callers were told "no" → until
        self._running: _Running | None = None
        self._joined = False
        self._opener: asyncio.Task[None] | None = None

    # -- life

    def start(self) -> None:
        """Begin to open the store, and return; ``settled`` says when it is clear whether it can be used.

        ``settled`` fails with :class:`StoreRefusedError` if this bridge must not use it, ever.
        """
        self._opener = asyncio.create_task(self._open(), name="job store")

    async def stop(self) -> None:
        """Leave the broker and the store; jobs go on without this bridge."""
        self.holders.end_all(End.DEADLINE)  # they are told that it goes on
        self.followers.end_all(End.DEADLINE)
        opener, self._opener = self._opener, None
        if opener is not None:
            opener.cancel()
            await asyncio.wait([opener])
        running, self._running = self._running, None
        if running is not None:
            await running.keeper.stop()
            with suppress(StoreUnavailableError):  # else the next to join will notice that nobody answers
                await running.membership.leave()
        await self._store.close()

    @property
    def ready(self) -> bool:
        """Whether a job could be taken now."""
        return self._joined and self._store.available and self.client.connected

    @property
    def store(self) -> JobStore:
        """For those who read it: whatever changes jobs goes through here."""
        return self._store

    async def _open(self) -> None:
        try:
            await self._open_store()
            running = self._running = _Running(self, self._store, self.client, self._publish_timeout)
            running.keeper.start()
            await self._join(running)
        except StoreRefusedError as error:
            self._is_refused(error)
            return
        except Exception:
            log.exception("a defect while the store was opened")
            self._is_refused(StoreRefusedError("it cannot be opened; the log has the trace"))
            return
        self._joined = True
        self._is_clear()

    async def _open_store(self) -> None:
        while True:
            try:
                await self._store.open()
            except StoreUnavailableError:  # the store has logged why
                self._is_clear()
                await asyncio.sleep(_OPEN_AGAIN_AFTER)
            else:
                return

    async def _join(self, running: _Running) -> None:
        while True:
            try:
                await running.membership.join()
            except StoreUnavailableError:
                self._is_clear()
                await asyncio.sleep(_OPEN_AGAIN_AFTER)
            else:
                return

    def _is_refused(self, error: StoreRefusedError) -> None:
        log.critical("this bridge may not use its store: %s", error)
        if not self.settled.done():
            self.settled.set_exception(error)
            self.settled.exception()  # whoever does not ask has the log

    def _is_clear(self) -> None:
        if not self.settled.done():
            self.settled.set_result(None)

    def now_ms(self) -> int:
        """Return the broker's time, which all bridges share."""
        return self.client.clock.now_ms()

    # -- making jobs

    async def submit(self, job: Job, request: Request) -> Submitted:
        """Keep a job and send its message, or find the one that has its key.

        Raises :class:`Problem` ``store-unavailable``, ``broker-unavailable`` or ``idempotency-mismatch``; nothing is
        left of the job then.
        """
        running = self._need_store()
        if not self.client.connected:
            found = await self._by_key(job)
            if found is None:
                raise retry_later("broker-unavailable", "there is no connection to the broker")
            return Submitted(_same(found, job), None)
        now_ms = self.now_ms()
        new = NewJob(job, request, self.name, now_ms + running.lease_ms)
        try:
            found = await self._store.create(new, now_ms)
        except StoreUnavailableError as error:
            self._take_back(job.id)
            raise _unavailable() from error
        if found is not None:
            return Submitted(_same(found, job), None)
        if self.now_ms() + self._publish_timeout * 1_000 > new.lease_ms:
            self._take_back(job.id)  # so slow a store that another bridge could be sending it at the same time as we
            raise _unavailable()
        return Submitted(job, self._post(running, job, request))

    def _post(self, running: _Running, job: Job, request: Request) -> Posting:
        try:
            posting = running.office.send(job, request)
        except (NotConnectedError, BufferFullError) as error:
            problem = retry_later("broker-unavailable", "the broker cannot take the message now")
            self._refuse(job.id, problem)
            raise problem from error
        except LocalProtocolError as error:
            problem = Problem("invalid-request", "headers: hold what no message header can hold", "no")
            self._refuse(job.id, problem)
            raise problem from error
        posting.confirmed.add_done_callback(lambda confirmed: self._answered(job.id, confirmed))
        return posting

    def _answered(self, job_id: str, confirmed: asyncio.Future[Exception | None]) -> None:
        if not confirmed.cancelled() and confirmed.result() is not None:
            self._refuse(job_id, retry_later("queue-full", "the broker refused the message"))

    def _refuse(self, job_id: str, problem: Problem) -> None:
        """End a job that the broker never had; whoever has joined it gets the same answer."""
        settling = self._store.settle(job_id, lambda _: refusal(problem), self.now_ms())
        settling.add_done_callback(lambda done: self._refused(job_id, done))

    def _refused(self, job_id: str, done: asyncio.Future[tuple[Job | None, bool]]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._take_back(job_id)
            return
        job, changed = done.result()
        if job is not None and changed:
            self.settled_here(job)

    def _take_back(self, job_id: str) -> None:
        """Keep in mind a job that may be in the store although its caller is told that it is not.

        A transaction that we gave up may still be committed, so it is looked for until its lease would be over.
        """
        lease_ms = self._running.lease_ms if self._running is not None else 0
        self._undo[job_id] = self.now_ms() + lease_ms

    @property
    def taken_back(self) -> Collection[str]:
        """Ids of jobs that must not be sent by this bridge."""
        return self._undo.keys()

    async def undo(self) -> None:
        """Take back what was written although its caller was told that it was not. Raises StoreUnavailableError."""
        problem = retry_later("store-unavailable", "the store does not answer")
        for job_id, until_ms in tuple(self._undo.items()):
            job, changed = await self._store.settle(job_id, lambda _: refusal(problem), self.now_ms())
            if job is not None or self.now_ms() > until_ms:
                self._undo.pop(job_id, None)
            if job is not None and changed:
                self.settled_here(job)

    async def _by_key(self, job: Job) -> Job | None:
        if job.key is None:
            return None
        found = await self._ask(self._store.by_key(job.caller, job.route, job.key.sha256))
        return found if found is not None and found.is_kept(self.now_ms()) else None

    async def confirmed(self, submitted: Submitted, timeout: float) -> Job:
        """Wait for at most ``timeout`` seconds until the broker has the job's message; return the job.

        Raises :class:`Problem` ``broker-unavailable`` (it may still get there), or what the job was refused with.
        """
        job, posting = submitted.job, submitted.posting
        try:
            with self.holders.wheel.timeout(timeout):
                if posting is not None:
                    error = await asyncio.shield(posting.confirmed)
                    if error is not None:
                        raise retry_later("queue-full", "the broker refused the message")
                    return job
                while job.sent_ms is None and not job.is_final:  # another request, perhaps another bridge, sends it
                    await asyncio.sleep(_LOOK_AGAIN_AFTER)
                    job = await self._store.get(job.id) or job
                return job
        except TimeoutError:
            raise not_confirmed() from None
        except StoreUnavailableError as error:
            raise _unavailable("maybe") from error

    # -- waiting for them

    def hold(self, job_id: str, until: float, watch: Callable[[Held[Job]], None] | None = None) -> Held[Job]:
        """Begin to wait for a job's end, until ``until`` (the loop's time, seconds); needs its :meth:`let_go`.

        Whoever holds a job that others may have ended already asks for it once, after this.
        """
        now = asyncio.get_running_loop().time()
        held = self.holders.open(self.holders.new_id(), now, until, until, watch)
        self._waiting.setdefault(job_id, set()).add(held.correlation_id)
        return held

    def let_go(self, job_id: str, held: Held[Job]) -> None:
        """Wait no longer."""
        self.holders.close(held)
        names = self._waiting.get(job_id)
        if names is not None:
            names.discard(held.correlation_id)
            if not names:
                del self._waiting[job_id]

    def settled_here(self, job: Job) -> None:
        """Tell all who wait that a job is over: here by value, at other bridges by its id."""
        self._tell(job)
        self.told_here(job.id)

    def told_here(self, job_id: str) -> None:
        """Tell all who read a job's events that there are more: here, and at other bridges."""
        self.followers.wake((job_id,))
        if self._running is not None:
            self._running.link.wake(job_id)

    def _tell(self, job: Job) -> None:
        for name in tuple(self._waiting.get(job.id, ())):
            self.holders.reply(name, job)

    def look_at(self, job_ids: list[str]) -> None:
        """Have a look at jobs that some bridge has changed, as far as somebody here waits for them."""
        self.followers.wake(job_ids)
        wanted = [job_id for job_id in job_ids if self._is_awaited(job_id)]
        if wanted and self._running is not None:
            self._running.keeper.look_at(wanted)

    def _is_awaited(self, job_id: str) -> bool:
        return any(self.holders.waits(name) for name in self._waiting.get(job_id, ()))

    async def poll(self, job_ids: list[str] | None = None) -> None:
        """Look into the store for the end of jobs that somebody waits for. Raises StoreUnavailableError."""
        wanted = list(self._waiting) if job_ids is None else job_ids
        if wanted:
            for job in await self._store.finals(wanted):
                self._tell(job)

    # -- looking at them, ending them

    async def get(self, job_id: str, caller: str) -> Job:
        """Return a job of this caller.

        Raises :class:`Problem` ``no-job``, ``job-gone`` or ``store-unavailable``.
        """
        self._need_store()
        job = await self._ask(self._store.get(job_id))
        now_ms = self.now_ms()
        if job is None or job.caller != caller or not job.is_remembered(now_ms) or job.is_refused:
            raise Problem("no-job", "there is no job of this id")
        if not job.is_kept(now_ms):
            state = (b"job-state", job.state.value.encode())
            raise Problem("job-gone", "the job's time is over and its result was cleaned away", headers=(state,))
        return job

    async def cancel(self, job_id: str, caller: str) -> Job:
        """Cancel a job of this caller, if it is open; return it as it is then. Raises as :meth:`get` does."""
        await self.get(job_id, caller)
        try:
            job, changed = await self._store.settle(job_id, lambda _: CANCELLED, self.now_ms())
        except StoreUnavailableError as error:
            raise _unavailable("maybe") from error
        if job is None:
            raise Problem("no-job", "there is no job of this id")
        if changed:
            self.settled_here(job)
            self.withdraw(job.id)
        return job

    async def _ask(self, reading: Coroutine[Any, Any, T]) -> T:
        try:
            return await reading
        except StoreUnavailableError as error:
            raise _unavailable() from error

    def _need_store(self) -> _Running:
        if self._running is None or not self._store.available:
            raise _unavailable()
        if not self._joined and self.client.connected:
            raise retry_later("store-unavailable", "this bridge is not yet sure that it may use the store")
        return self._running


def not_confirmed() -> Problem:
    """Make the problem of a message that the broker did not confirm in time."""
    return retry_later("broker-unavailable", "the broker did not confirm the message in time", "maybe")


def _unavailable(ran: Ran | None = None) -> Problem:
    return retry_later("store-unavailable", "the store of jobs does not answer", ran)


def _same(found: Job, asked: Job) -> Job:
    """Return the job that has the key, if it was made by the same request."""
    if found.key is None or asked.key is None or found.key.fingerprint != asked.key.fingerprint:
        raise Problem("idempotency-mismatch", "the key came with another method, path, query or body before")
    return found
