"""Any ASGI app as a worker: Starlette, FastAPI, Django, or a bare function."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from consumers.adapters.http_message import http_reply, http_request
from consumers.reply import BadReplyError
from consumers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping

    from consumers.reply import Reply
    from consumers.request import Request

    Event = MutableMapping[str, Any]
    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Event]]
    Send = Callable[[Event], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)

_VERSION: Final = {"version": "3.0", "spec_version": "2.3"}


class LifespanError(Exception):
    """The app could not start; its log says why."""


def asgi_handler(app: App, *, host: str = "localhost") -> AsgiHandler:
    """Return a handler that serves request messages with an ASGI app; ``host`` is what it sees as Host.

    Give ``handler.lifespan`` to the :class:`Worker`, so that the app starts before the first message and stops after
    the last.
    """
    return AsgiHandler(app, host)


def asgi_worker(app: App, queue: str, *, name: str = "asgi", host: str = "localhost") -> Worker:
    """Return a worker that serves one queue with an ASGI app, lifespan included."""
    handler = asgi_handler(app, host=host)
    worker = Worker(name, lifespan=handler.lifespan)
    worker.add(queue, handler)
    return worker


class AsgiHandler:
    """See :func:`asgi_handler`."""

    def __init__(self, app: App, host: str) -> None:
        self._app = app
        self._host = host
        self._state: dict[str, Any] = {}

    async def __call__(self, request: Request) -> Reply:
        """Run the app for one message.

        The reply goes out when the app has returned, so background tasks are part of the job. If the app raises, the
        caller gets `worker-failed`; but an answer that was whole before, and no server error, stands. Raises
        RefusedError for a message that is no HTTP request and BadReplyError for a response over the limit.
        """
        exchange = _Exchange(request)
        try:
            await self._app(self._scope(request), exchange.receive, exchange.send)
        except Exception:
            exchange.check_size()
            if not exchange.whole or exchange.status >= 500:  # a framework's error page comes before its error
                raise
            log.exception("call %s: the app failed after it had answered", request.correlation_id)
        finally:
            exchange.over.set()
        exchange.check_size()
        return exchange.reply()

    def _scope(self, request: Request) -> Scope:
        head = http_request(request)
        headers = [(b"host", request.headers.get("host", self._host).encode())]
        headers += [(name.encode(), value.encode()) for name, value in head.headers]
        headers.append((b"content-length", b"%d" % len(request.body)))
        return {
            "type": "http",
            "asgi": _VERSION,
            "http_version": "1.1",
            "method": head.method,
            "scheme": "http",
            "path": unquote(head.raw_path),
            "raw_path": head.raw_path.encode(),
            "query_string": head.query.encode(),
            "root_path": "",
            "headers": headers,
            "client": None,
            "server": None,
            "state": self._state.copy(),
            "extensions": {
                "activemq": {
                    "correlation_id": request.correlation_id,
                    "attempt": request.attempt,
                    "remaining": request.remaining(),
                    "route": request.route,
                    "caller": request.caller,
                    "path_parameters": dict(request.path),
                }
            },
        }

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Start the app and stop it again (ASGI lifespan); an app that does not know of that is served without.

        Raises :class:`LifespanError` if it says that it cannot start.
        """
        self._state = {}
        lifespan = _Lifespan(self._app, self._state)
        await lifespan.startup()
        try:
            yield
        finally:
            await lifespan.shutdown()


class _Exchange:
    """One request and its response, as the app sees them."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._limit = request.max_reply
        self._body_was_given = False
        self._started: Event | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self.whole = False
        self.over = asyncio.Event()  # nobody waits any more

    @property
    def status(self) -> int:
        return 0 if self._started is None else int(self._started["status"])

    async def receive(self) -> Event:
        if not self._body_was_given:
            self._body_was_given = True
            return {"type": "http.request", "body": self._request.body, "more_body": False}
        # A caller who is still there says nothing more; after the deadline nobody is.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._request.remaining()):
                await self.over.wait()
        return {"type": "http.disconnect"}

    async def send(self, event: Event) -> None:
        kind = event["type"]
        if self.whole or (self._started is None) != (kind == "http.response.start"):
            raise RuntimeError(f"ASGI: {kind!r} is out of order")
        if kind == "http.response.start":
            self._started = event
        elif kind == "http.response.body":
            self._add(event.get("body", b""))
            if not event.get("more_body", False):
                self.whole = True
                self.over.set()
        else:
            raise RuntimeError(f"ASGI: {kind!r} is not known here")

    def _add(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > self._limit:
            self._chunks.clear()
            self.check_size()
        self._chunks.append(chunk)

    def check_size(self) -> None:
        if self._size > self._limit:
            raise BadReplyError(f"the app's response is over the limit of {self._limit} bytes")

    def reply(self) -> Reply:
        if self._started is None or not self.whole:
            raise RuntimeError("ASGI: the app returned without a whole response")
        headers = [(k.decode("latin-1").lower(), v.decode("latin-1")) for k, v in self._started.get("headers", ())]
        return http_reply(self.status, headers, b"".join(self._chunks))


class _Lifespan:
    """The app's lifespan task."""

    def __init__(self, app: App, state: dict[str, Any]) -> None:
        self._app = app
        self._scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._answers: asyncio.Queue[Event] = asyncio.Queue()
        self._started = False
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        self._task = asyncio.create_task(self._run(), name="ASGI lifespan")
        try:
            answer = await self._ask("lifespan.startup")
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        self._started = answer is not None and answer["type"] == "lifespan.startup.complete"
        if self._started:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if answer is not None and answer["type"] == "lifespan.startup.failed":
            raise LifespanError(f"the app cannot start: {answer.get('message') or 'it does not say why'}")
        log.info("the app takes no part in ASGI's lifespan; it is served without")

    async def shutdown(self) -> None:
        if not self._started or self._task is None:
            return
        answer = await self._ask("lifespan.shutdown")
        if answer is not None and answer["type"] == "lifespan.shutdown.failed":
            log.error("the app did not stop clean: %s", answer.get("message") or "it does not say why")
        await self._task

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._events.get, self._answers.put)
        except Exception as error:
            if self._started:
                log.exception("the app's lifespan failed")
            else:  # ASGI, "Lifespan Protocol": an app refuses the scope by raising
                log.info("the app refused the lifespan scope: %r", error)

    async def _ask(self, kind: str) -> Event | None:
        """Send an event; return the app's answer, None if its task ends without one."""
        if self._task is None or self._task.done():
            return None
        self._events.put_nowait({"type": kind})
        answer = asyncio.ensure_future(self._answers.get())
        try:
            await asyncio.wait([answer, self._task], return_when=asyncio.FIRST_COMPLETED)
            return answer.result() if answer.done() else None
        finally:
            answer.cancel()
