"""A sidecar: hands each message to an HTTP service, and its response back."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import httpx

from consumers.adapters.http_message import http_reply, http_request
from consumers.reply import BadReplyError, RefusedError, Reply
from consumers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from consumers.adapters.http_message import HttpRequest
    from consumers.handler import Handler
    from consumers.request import Request

log = logging.getLogger(__name__)

# Seconds; for messages that have no deadline, which a bridge's always have.
DEFAULT_TIMEOUT: Final = 60.0

_SEPARATORS: Final = re.compile(r"[/\\]")


def forward_worker(queue: str, url: str, concurrency: int, *, name: str = "forward") -> Worker:
    """Return a worker that hands the messages of a queue to the HTTP service at ``url``.

    ``concurrency``: the slots that it will be run with, and so the most connections to the service. Raises ValueError
    for a URL that is none.
    """
    forwarder = _Forwarder(url, None, DEFAULT_TIMEOUT)
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        # No proxies and no netrc from the environment: a sidecar's service is next door.
        # No cookies kept: one caller's would go out with another's call.
        cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        async with httpx.AsyncClient(limits=limits, trust_env=False, cookies=cookies) as client:
            forwarder.client = client
            yield
            forwarder.client = None

    worker = Worker(name, lifespan=lifespan)
    worker.add(queue, forwarder)
    return worker


def forward_handler(base_url: str, client: httpx.AsyncClient, *, timeout: float = DEFAULT_TIMEOUT) -> Handler:
    """Return a handler that hands each message to the HTTP service at ``base_url``.

    ``client`` brings what the service asks for: its authentication, TLS, headers. Its connection pool should have room
    for as many as there are slots. ``timeout``, in seconds, is for messages without a deadline; others have what is
    left of theirs. Raises ValueError for a URL that is none.
    """
    return _Forwarder(base_url, client, timeout)


class _Forwarder:
    """See :func:`forward_handler`.

    What goes out: method, path and query of the call behind the path of ``base_url``, the headers that the message
    carries, the body. What comes back: the response as it is, a redirect too. If there is none:

    ======================================  ==========================================================
    the service does not take connections   a reply of our own: 503, ``ran: no``, so it may be retried
    the connection breaks                   502, ``ran: maybe``
    it is slower than the deadline          504, ``ran: maybe``
    its response is over the limit          `bad-reply`; the rest is not read
    ======================================  ==========================================================

    `worker-failed` would say that the work was done and went wrong, and nobody here knows that.
    """

    def __init__(self, base_url: str, client: httpx.AsyncClient | None, timeout: float) -> None:
        self.client = client
        self._base = _base_url(base_url)
        self._prefix = self._base.raw_path.rstrip(b"/")
        self._timeout = timeout

    async def __call__(self, request: Request) -> Reply:
        head = http_request(request)
        _check_path(head.raw_path)
        left = request.remaining()
        if left is None:
            left = self._timeout
        call = request.correlation_id
        try:
            async with asyncio.timeout(left):
                return await self._exchange(head, request)
        except httpx.ConnectError as error:
            log.error("call %s: cannot connect to %s: %r", call, self._base, error)  # noqa: TRY400 - not our failure
            return Reply.problem(503, "the service behind this worker cannot be reached", ran="no")
        except TimeoutError:
            log.warning("call %s: %s has not answered within %.3f s", call, self._base, left)
            return Reply.problem(504, "the service behind this worker did not answer in time", ran="maybe")
        except (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError) as error:
            log.error("call %s: the exchange with %s broke: %r", call, self._base, error)  # noqa: TRY400 - not our failure
            return Reply.problem(502, "the service behind this worker broke off", ran="maybe")

    async def _exchange(self, head: HttpRequest, request: Request) -> Reply:
        if self.client is None:
            raise RuntimeError("this handler belongs to a worker that does not run")
        outgoing = self._request(self.client, head, request.body)
        response = await self.client.send(outgoing, stream=True, follow_redirects=False)
        try:
            _check_encoding(outgoing, response)
            body = b"" if head.method == "HEAD" else await _read(response, request.max_reply)
        finally:
            await response.aclose()
        return http_reply(response.status_code, response.headers.multi_items(), body)

    def _request(self, client: httpx.AsyncClient, head: HttpRequest, body: bytes) -> httpx.Request:
        headers = httpx.Headers(head.headers, encoding="utf-8")
        headers.setdefault("accept-encoding", "identity")  # the route may not let content-encoding through
        target = self._prefix + head.raw_path.encode() + (b"?" + head.query.encode() if head.query else b"")
        # The host comes from the base URL alone; the target goes out as it came and is never parsed as a URL.
        outgoing = client.build_request(
            head.method,
            self._base,
            headers=headers,
            content=body,
            timeout=None,  # the deadline is for all of it together
            extensions={"target": target},
        )
        if "cookie" not in headers:
            outgoing.headers.pop("cookie", None)  # from the client's jar: what the service set for another caller
        return outgoing


def _base_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(f"{text!r} is not a URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"{text!r}: must begin with http:// or https:// and name a host")
    if url.port is not None and not 0 < url.port < 65536:
        raise ValueError(f"{text!r}: the port of http://HOST:PORT must be 1 to 65535")
    if url.userinfo or url.query or url.fragment:
        raise ValueError("the service's URL must be http://HOST:PORT/PATH and nothing else")
    return url


def _check_path(raw_path: str) -> None:
    """Refuse a path that may lead out of the base URL's, however the service decodes it."""
    for segment in _SEPARATORS.split(unquote(raw_path)):
        if segment.partition(";")[0] in (".", ".."):  # Java servers cut off what follows a semicolon
            raise RefusedError(Reply.problem(400, "the path holds a . or .. segment", ran="no"))


def _check_encoding(outgoing: httpx.Request, response: httpx.Response) -> None:
    encoding = response.headers.get("content-encoding")
    if encoding is not None and outgoing.headers["accept-encoding"] == "identity":
        raise BadReplyError(f"the service answers with content-encoding {encoding!r:.40}, which nobody asked for")


async def _read(response: httpx.Response, limit: int) -> bytes:
    """Read the body as it is on the wire, and no further than the limit; raises BadReplyError."""
    chunks: list[bytes] = []
    size = int(response.headers.get("content-length", 0))
    if size <= limit:
        size = 0
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size > limit:
                break
            chunks.append(chunk)
    if size > limit:
        raise BadReplyError(f"the service's response is over the limit of {limit} bytes")
    return b"".join(chunks)
