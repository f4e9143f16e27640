"""A job's events to one reader. They are read from the store as fast as the reader takes them: nothing waits for it."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final, Protocol

from bridge import translate
from bridge.asgi import CallerGoneError
from bridge.endpoints.job_answers import PREFIX
from bridge.endpoints.stream import KEEP_ALIVE
from bridge.events import MAX_EVENT, SILENCE, as_json, done_of, encode_event, head_of
from bridge.exchange import End
from bridge.jobs.results import answer_of
from bridge.jobs.store import StoreUnavailableError
from bridge.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.admission import Admission
    from bridge.jobs.followers import Follower, Followers
    from bridge.jobs.model import Job
    from bridge.translate import Answer

STALLED: Final = 60.0  # seconds in which a reader takes nothing before it is given up: it can come again
_STORE_AGAIN: Final = 1.0  # seconds
_NUMBER: Final = re.compile(rb"[0-9]{1,18}")
_SLOW: Final = "the next part of the answer is no longer kept: the caller reads more slowly than the worker writes"


def last_event_id(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """Return the number of the event that the reader had last; 0 for none.

    Raises :class:`Problem` ``invalid-request`` for what we have never given out: to ignore it would be to send again
    what the reader says it has. An empty one is none (WHATWG HTML, 9.2.4: a browser does not send it).
    """
    values = [value for name, value in headers if name == b"last-event-id" and value]
    if not values:
        return 0
    if len(values) > 1 or not _NUMBER.fullmatch(values[0]):
        raise translate.invalid("last-event-id", "must be there once and be the id of an event")
    return int(values[0])


def begin_at(job: Job, after: int) -> int | None:
    """Return the number behind which the reader's events begin; None if it has had the last of all.

    Raises :class:`Problem` ``slow-reader`` if a part of the answer is no longer kept.
    """
    if not after:
        return job.trail.lost_chunk  # a newcomer begins with what there is
    if after > job.trail.last:
        return None
    if after < job.trail.lost_chunk:
        raise Problem("slow-reader", _SLOW)
    return after


class Sending(Protocol):
    """Whoever answers the reader."""

    async def send_part(self, data: bytes, *, last: bool = False) -> None:
        """Send a part of the body."""
        ...


class Events:
    """The events of one job for one reader, up to its end. ``prefix``: the public URL."""

    def __init__(
        self, followers: Followers, follower: Follower, admission: Admission, call: Sending, prefix: str
    ) -> None:
        self._followers = followers
        self._follower = follower
        self._admission = admission
        self._call = call
        self._prefix = prefix
        self._loop = asyncio.get_running_loop()
        self._speak_at = self._loop.time() + KEEP_ALIVE
        self.end: Answer | Problem | None = None  # what was said last

    async def run(self) -> End | None:
        """Send events until the last one is sent, or somebody ends it; return None, or how it was ended.

        Raises :class:`CallerGoneError` for a reader who takes nothing any more.
        """
        after = self._follower.seen
        while self._follower.ended is None:
            try:
                page = await self._followers.read(self._follower, after)
            except StoreUnavailableError:
                await self._silence(_STORE_AGAIN)
                continue
            if page is None:  # cleaned away, and nothing is left to say
                return End.DEADLINE
            if page.lost_chunk > after:
                await self.fail(Problem("slow-reader", _SLOW), page.job)
                return None
            if page.events:
                after = page.events[-1].number
                await self._send(b"".join(encode_event(one.kind, one.number, one.data) for one in page.events))
            elif page.job.is_final:
                if await self._finish(page.job):
                    return None
            else:
                await self._silence(KEEP_ALIVE)
        return self._follower.ended

    async def _finish(self, light: Job) -> bool:
        """Send the last event; False if the store did not give the answer just now."""
        try:
            job = await self._followers.whole(self._follower)
        except StoreUnavailableError:
            await self._silence(_STORE_AGAIN)
            return False
        number = light.trail.last + 1
        try:
            answer = answer_of(job or light)
        except Problem as problem:
            self.end = problem
            event = self._failed(problem, light, number)
        else:
            self.end = answer
            event = encode_event("done", number, as_json(self._done(answer, light)))
        await self._send(event, last=True)
        return True

    def _done(self, answer: Answer, job: Job) -> dict[str, object]:
        if len(answer.body) <= MAX_EVENT:
            return done_of(answer)
        return head_of(answer) | {"result": f"{self._prefix}{PREFIX}{job.id}/result"}

    def _failed(self, problem: Problem, job: Job, number: int | None) -> bytes:
        return encode_event("failed", number, problem.body(job.path, job.id, self._prefix))

    async def fail(self, problem: Problem, job: Job) -> None:
        """End the stream with a problem that is not the job's end."""
        self.end = problem
        await self._send(self._failed(problem, job, None), last=True)

    async def close(self) -> None:
        """End the stream without a word: whoever comes again gets the rest."""
        await self._send(b"", last=True)

    async def _silence(self, seconds: float) -> None:
        """Wait until there may be more, for so many seconds at most; a comment after a silence of 15 s."""
        left = self._speak_at - self._loop.time()
        if left > 0:
            await self._follower.more(min(seconds, left))
        elif self._follower.ended is None:
            await self._send(SILENCE)

    async def _send(self, data: bytes, *, last: bool = False) -> None:
        self._admission.memory += len(data)
        try:
            async with asyncio.timeout(STALLED):
                await self._call.send_part(data, last=last)
        except TimeoutError:
            raise CallerGoneError from None
        finally:
            self._admission.memory -= len(data)
        self._speak_at = self._loop.time() + KEEP_ALIVE
