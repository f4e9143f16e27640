"""httpx transports that ask one bridge after the other, within a deadline for all of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import anyio
import httpx

from bridge.client.addresses import Address, Addresses
from bridge.client.retrying import Attempts, is_interesting, may_repeat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

DEADLINE: Final = 120.0  # seconds
_PHASES: Final = ("connect", "read", "write", "pool")
_clock = time.monotonic


class _Request:
    """One request on its way: what the two transports have in common."""

    def __init__(self, addresses: Addresses, deadline: float, max_pause: float | None, request: httpx.Request) -> None:
        given = request.extensions.get("deadline")
        self.until = _clock() + (deadline if given is None else float(given))
        self._request = request
        repeatable = may_repeat(request)
        self.attempts = Attempts(addresses, repeatable=repeatable, until=self.until, max_pause=max_pause)

    def begin(self) -> float:
        """Return the pause before the first attempt. Raises :class:`httpx.ConnectTimeout` if that is too long."""
        pause = self.attempts.begin(_clock())
        if pause is None:
            raise httpx.ConnectTimeout(
                "each bridge wants to be asked again only after the deadline", request=self._request
            )
        return pause

    def next(self) -> httpx.Request:
        """Return the request for this attempt, which may take what is left of the deadline and no longer."""
        left = max(self.until - _clock(), 0.001)
        given = self._request.extensions.get("timeout", {})
        timeouts = {phase: min(left, given.get(phase) or left) for phase in _PHASES}
        address: Address = self.attempts.address
        request = httpx.Request(
            self._request.method,
            address.at(self._request.url),
            headers=self._request.headers,
            stream=httpx.ByteStream(self._request.content),  # framed as its headers say
            extensions={**self._request.extensions, "timeout": timeouts},
        )
        request.headers["host"] = address.base.netloc.decode("ascii")
        return request

    def over(self) -> httpx.ReadTimeout:
        return httpx.ReadTimeout("the deadline is over", request=self._request)

    @property
    def left(self) -> float:
        """Seconds until the deadline; 0.0 once it is over."""
        return max(self.until - _clock(), 0.0)


class BridgeTransport(httpx.BaseTransport):
    """Sends each request to a bridge that answers; ``httpx.Client(transport=BridgeTransport([…]))``.

    Whatever the host in a request's URL is, it goes to one of the addresses and nowhere else. Bodies are kept in memory
    until their request is over, since they may have to be sent again.
    """

    def __init__(
        self,
        addresses: str | Iterable[str],
        *,
        deadline: float = DEADLINE,
        max_pause: float | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Take the addresses, ``http://HOST:PORT`` each.

        ``deadline``: seconds for a request with all its attempts and the pauses between them, unless the request has
        ``extensions={"deadline": …}``. ``max_pause``: where a longer pause (seconds) would be needed, the answer is
        what there is; 0: only go on to other addresses. ``transport``: what sends (TLS settings, limits).
        Raises ValueError.
        """
        self._addresses = Addresses(addresses)
        self._deadline = deadline
        self._max_pause = max_pause
        self._inner = transport or httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it, again where that is safe; return the first answer that is one, else the last. Raises as httpx."""
        request.read()
        sending = _Request(self._addresses, self._deadline, self._max_pause, request)
        pause: float | None = sending.begin()
        while True:
            time.sleep(pause or 0.0)
            try:
                response = self._inner.handle_request(sending.next())
                if not is_interesting(response.status_code):
                    return _bounded(response, sending)
                response = _whole(response, _all(response, sending))
            except httpx.TransportError as error:
                pause = sending.attempts.failed(error, _clock())
                if pause is None:
                    raise
                continue
            pause = sending.attempts.answered(response.status_code, response.headers, _body(response), _clock())
            if pause is None:
                return response

    def close(self) -> None:
        """Close what sends."""
        self._inner.close()


class AsyncBridgeTransport(httpx.AsyncBaseTransport):
    """:class:`BridgeTransport` for ``httpx.AsyncClient``, on asyncio or Trio."""

    def __init__(
        self,
        addresses: str | Iterable[str],
        *,
        deadline: float = DEADLINE,
        max_pause: float | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """See :class:`BridgeTransport`."""
        self._addresses = Addresses(addresses)
        self._deadline = deadline
        self._max_pause = max_pause
        self._inner = transport or httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As :meth:`BridgeTransport.handle_request`."""
        await request.aread()
        sending = _Request(self._addresses, self._deadline, self._max_pause, request)
        pause: float | None = sending.begin()
        while True:
            await anyio.sleep(pause or 0.0)
            try:
                response = await self._inner.handle_async_request(sending.next())
                if not is_interesting(response.status_code):
                    return _bounded(response, sending)
                response = _whole(response, await _aall(response, sending))
            except httpx.TransportError as error:
                pause = sending.attempts.failed(error, _clock())
                if pause is None:
                    raise
                continue
            pause = sending.attempts.answered(response.status_code, response.headers, _body(response), _clock())
            if pause is None:
                return response

    async def aclose(self) -> None:
        """Close what sends."""
        await self._inner.aclose()


class _Within(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that has to be whole within the deadline.

    Read by plain code, a part that is waited for as the deadline passes may come as late as its read allows, which is
    what was left when the attempt began: httpx takes a read's time once for a whole body.
    """

    def __init__(self, stream: Any, sending: _Request) -> None:  # noqa: ANN401 - of either kind, as the transport is
        self._stream = stream
        self._sending = sending

    def __iter__(self) -> Iterator[bytes]:
        for part in self._stream:
            if not self._sending.left:
                raise self._sending.over()
            yield part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = aiter(self._stream)
        while True:
            try:
                with anyio.fail_after(self._sending.left):
                    part = await anext(parts)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise self._sending.over() from None
            if not self._sending.left:
                raise self._sending.over()
            yield part

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()


def _bounded(response: httpx.Response, sending: _Request) -> httpx.Response:
    sending.attempts.answered(response.status_code, response.headers, b"", _clock())
    return _with(response, _Within(response.stream, sending))


def _all(response: httpx.Response, sending: _Request) -> bytes:
    try:
        return b"".join(_Within(response.stream, sending))
    finally:
        response.close()


async def _aall(response: httpx.Response, sending: _Request) -> bytes:
    try:
        return b"".join([part async for part in _Within(response.stream, sending)])
    finally:
        await response.aclose()


def _whole(response: httpx.Response, body: bytes) -> httpx.Response:
    return _with(response, httpx.ByteStream(body))


def _with(response: httpx.Response, stream: httpx.SyncByteStream | httpx.AsyncByteStream) -> httpx.Response:
    return httpx.Response(response.status_code, headers=response.headers, stream=stream, extensions=response.extensions)


def _body(response: httpx.Response) -> bytes:
    """Return a body that :func:`_whole` has kept, before it is decoded: no problem of a bridge is encoded."""
    return b"".join(response.stream)  # type: ignore[arg-type]  # a ByteStream, which can be read again
