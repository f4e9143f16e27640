"""An answer that comes in parts: as events (`stream = true`), or as one body (`stream = "body"`)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from activemq import Frame
from bridge import translate
from bridge.asgi import CallerGoneError
from bridge.endpoints.outcomes import problem_of
from bridge.events import MAX_EVENT, SILENCE, STREAM_HEADERS, as_json, document_of, done_of, encode_event, is_asked_for
from bridge.exchange import End, Refused
from bridge.link import attempt_of
from bridge.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from bridge.admission import Admission
    from bridge.endpoints.call import Call
    from bridge.exchange import Held
    from bridge.routing import ServedRoute
    from bridge.translate import Answer, Head

KEEP_ALIVE: Final = 15.0  # seconds; proxies close what is silent for longer
MAX_BEHIND: Final = 1024 * 1024  # bytes that wait for a reader
GRACE: Final = 10.0  # seconds that a reader has for each part once the call has its outcome

Outcome = Frame | End | Refused


class Stream(Protocol):
    """One of the two ways."""

    def on_notice(self, frame: Frame) -> None:
        """Take a worker's notice; called on the loop, must not wait."""
        ...

    async def run(self, call: Call) -> Outcome:
        """Send parts until the call has its outcome, and return that."""
        ...

    async def finish(self, call: Call, outcome: Outcome) -> None:
        """Say how it ended."""
        ...

    def close(self) -> None:
        """Let go of what was not sent."""
        ...


def stream_for(head: Head, route: ServedRoute, held: Held[Frame], admission: Admission) -> Stream | None:
    """Return the stream that a caller gets; None for one whole answer."""
    if route.settings.stream == "body":
        return BodyStream(held, route, admission)
    if route.settings.stream and is_asked_for(head):
        return EventStream(held, route, admission)
    return None


class Parts:
    """What waits to be sent to one caller: bounded, in order."""

    def __init__(self, held: Held[Frame], admission: Admission) -> None:
        self._held = held
        self._admission = admission
        self._waiting: deque[bytes] = deque()
        self._behind = 0
        self._something = asyncio.Event()
        held.outcome.add_done_callback(lambda _: self._something.set())

    def add(self, data: bytes, *, may_be_lost: bool) -> None:
        """Keep a part until it is sent. A reader too far behind loses what may be lost; else the call ends."""
        if self._behind and self._behind + len(data) > MAX_BEHIND:  # a single part may be larger than that
            if not may_be_lost:
                self._held.end(End.READER_BEHIND)
            return
        self._waiting.append(data)
        self._count(len(data))
        self._something.set()

    async def next(self) -> bytes | None:
        """Return what is to be sent: empty after a silence of 15 s, None once the call has its outcome."""
        while not self._waiting:
            if self._held.outcome.done():
                return None
            self._something.clear()
            try:
                async with asyncio.timeout(KEEP_ALIVE):
                    await self._something.wait()
            except TimeoutError:
                return b""
        data = b"".join(self._waiting)
        self._waiting.clear()
        return data

    async def send(self, call: Call, data: bytes) -> None:
        """Send what next() returned, and note that the server has taken it. Raises as :func:`in_time`."""
        await in_time(self._held, call.send_part(data))
        self._count(-len(data))

    def close(self) -> None:
        """Give back the memory of what was not sent."""
        self._waiting.clear()
        self._count(-self._behind)

    def _count(self, size: int) -> None:
        self._behind += size
        self._admission.memory += size  # as an answer's: it is there already, so never refused


async def in_time(held: Held[Frame], sending: Awaitable[None]) -> None:
    """Send to a reader who may take as long as the call is held, and a little longer for what is left then.

    Raises :class:`CallerGoneError` when that time is over: the server closes what is not finished.
    """
    loop = asyncio.get_running_loop()

    def over(_: object) -> None:
        limit.reschedule(loop.time() + GRACE)

    try:
        async with asyncio.timeout(None) as limit:
            if held.outcome.done():
                over(None)
            else:
                held.outcome.add_done_callback(over)
            try:
                await sending
            finally:
                held.outcome.remove_done_callback(over)
    except TimeoutError:
        raise CallerGoneError from None


class EventStream:
    """Server-sent events (WHATWG HTML, 9.2): started, progress, chunk, and at the end done or failed."""

    def __init__(self, held: Held[Frame], route: ServedRoute, admission: Admission) -> None:
        self._parts = Parts(held, admission)
        self._held = held
        self._route = route
        self._id = 0

    def on_notice(self, frame: Frame) -> None:
        """See :class:`Stream`."""
        kind = frame.raw("reply_kind") or ""
        if len(frame.body) > MAX_EVENT or frame.oversize:
            if kind == "chunk":
                self._held.end(End.BAD_PART)
            return
        data = as_json({"attempt": self._held.attempt}) if kind == "started" else document_of(frame)
        self._parts.add(self._event(kind, data), may_be_lost=kind != "chunk")

    async def run(self, call: Call) -> Outcome:
        """See :class:`Stream`."""
        await in_time(self._held, call.start(200, [*STREAM_HEADERS, *call.headers()]))
        while (data := await self._parts.next()) is not None:
            if data:
                await self._parts.send(call, data)
            else:
                await in_time(self._held, call.send_part(SILENCE))
        return self._held.outcome.result()

    async def finish(self, call: Call, outcome: Outcome) -> None:
        """See :class:`Stream`."""
        if outcome is End.CALLER_GONE:
            return
        try:
            if not isinstance(outcome, Frame):
                raise problem_of(outcome, self._route, self._held)
            answer = translate.answer_of(outcome, self._route)
            event = self._event("done", as_json(done_of(answer)))
            call.is_answered(answer)
        except Problem as problem:
            call.is_refused(problem)
            event = self._event("failed", call.document(problem))
        await in_time(self._held, call.send_part(event, last=True))

    def close(self) -> None:
        """See :class:`Stream`."""
        self._parts.close()

    def _event(self, kind: str, data: bytes) -> bytes:
        self._id += 1
        return encode_event(kind, self._id, data)


class BodyStream:
    """One response whose body comes in parts; its head is that of the first part."""

    def __init__(self, held: Held[Frame], route: ServedRoute, admission: Admission) -> None:
        self._parts = Parts(held, admission)
        self._held = held
        self._route = route
        self._head: Answer | None = None  # of the first part
        self._attempt = 0  # which the parts are of

    def on_notice(self, frame: Frame) -> None:
        """Take a chunk; one of another attempt is never spliced to what was sent."""
        if self._head is not None and self._attempt != self._held.attempt:
            self._held.end(End.WORKER_LOST)
            return
        if frame.raw("reply_kind") != "chunk":
            return
        if self._head is None:
            try:
                self._head = translate.answer_of(frame, self._route)
            except Problem:
                self._held.end(End.BAD_PART)
                return
            self._attempt = self._held.attempt
        if frame.oversize:
            self._held.end(End.BAD_PART)
        else:
            self._parts.add(frame.body, may_be_lost=False)

    async def run(self, call: Call) -> Outcome:
        """See :class:`Stream`. Without any part nothing is sent."""
        while (data := await self._parts.next()) is not None:
            if self._head is not None and not call.answering:
                own = [(name, value) for name, value in self._head.headers if name != b"content-length"]
                await in_time(self._held, call.start(self._head.status, [*own, *call.headers()]))
            if data:
                await self._parts.send(call, data)
        return self._held.outcome.result()

    async def finish(self, call: Call, outcome: Outcome) -> None:
        """End the response; one that cannot be ended well is cut, for the caller to see that it is not whole."""
        if not call.answering:
            await call.answer(outcome, self._route, self._held)
        elif isinstance(outcome, Frame) and self._is_whole(outcome):
            await in_time(self._held, call.send_part(outcome.body, last=True))
            call.is_answered(translate.answer_of(outcome, self._route))
        elif isinstance(outcome, Frame):
            call.is_refused(Problem("bad-reply", "the worker's last word does not fit the parts before it"))
        elif outcome is not End.CALLER_GONE:
            call.is_refused(problem_of(outcome, self._route, self._held))

    def close(self) -> None:
        """See :class:`Stream`."""
        self._parts.close()

    def _is_whole(self, frame: Frame) -> bool:
        """Say whether a reply is the end of what was sent: of the same attempt, and no error that its head hides."""
        if (attempt_of(frame) or self._held.attempt) != self._attempt:
            return False
        try:
            return translate.answer_of(frame, self._route).status < 400
        except Problem:
            return False
