"""Looking at dead letters, and taking one: a short visit to a broker, on a connection of its own.

A dead letter may be what killed a connection before, so no other work shares this one; and it is in nobody's way when
messages are held for a moment.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from activemq.errors import ActiveMQError, ConnectFailedError, ConnectionLostError, ReceiptTimeoutError, ServerError
from activemq.frames import ack_headers, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from activemq.brokers import Profile
    from activemq.client import Client, Subscription
    from activemq.frames import Frame

CONNECT_TIMEOUT: Final = 5.0  # seconds, for connection and login, whatever the number of servers
LOOK_TIMEOUT: Final = 10.0  # seconds
TAKE_TIMEOUT: Final = 5.0  # seconds, for a message that is there; if it does not come somebody else holds it
SILENCE: Final = 1.0  # seconds without a message, after which a broker that does not browse has no more
ACK_TIMEOUT: Final = 5.0  # seconds
# Messages on their way to us: few, since each may be as large as the broker takes.
PREFETCH: Final = 16


class HeldError(ActiveMQError):
    """The message is there, but somebody else holds it: a worker, or another visitor."""


class Visit:
    """One connection, made for a look at dead letters and closed after it. Use it with ``async with``.

    ``client`` is nobody else's and not started; its ``Limits.max_body`` says how much of a body is kept in memory: what
    is larger is thrown away as it comes, and its size told by ``Frame.oversize``. Every method is bounded in time and
    raises :class:`ActiveMQError`: :class:`ConnectFailedError`, :class:`ConnectionLostError`, :class:`ServerError` for
    what the login may not do.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._acks = 0
        client.listen(lambda: None, self._on_lost)

    async def __aenter__(self) -> Self:
        await self.client.start()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self.client.wait_connected()
        except BaseException as error:
            await self.client.stop()
            if isinstance(error, TimeoutError):
                reason = self.client.last_error or f"no broker answered within {CONNECT_TIMEOUT:g} s"
                raise ConnectFailedError(str(reason)) from None
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.stop()

    @property
    def profile(self) -> Profile:
        """The broker's."""
        return self.client.profile

    async def look(
        self,
        queue: str,
        on_letter: Callable[[Frame], bool],
        *,
        most: int = PREFETCH,
        only: str | None = None,
        timeout: float = LOOK_TIMEOUT,
    ) -> bool:
        """Show ``on_letter`` the messages of a queue, from its head on; they stay there.

        It returns whether it has seen enough. ``most``: how many it can want, for brokers that do not browse; ``only``:
        show just the message of that name. ``timeout`` in seconds. Returns True if the broker showed all that it would,
        False if there may be more: enough was seen, or the time was over.
        """
        profile, looking = self.profile, _Looking()

        def came(frame: Frame) -> None:
            looking.touched()
            if looking.over.done():
                return
            if profile.looked(frame):
                looking.end(whole=True)
            elif (only is None or profile.letter_name(frame) == only) and on_letter(frame):
                looking.end(whole=False)
            elif profile.browses:
                self.client.ack(frame, self.client.generation)  # it makes room for the next, and takes nothing

        prefetch = PREFETCH if profile.browses else most
        subscription = self._subscribe(profile.look(queue, prefetch, only), came, looking)
        try:
            return await self._until(looking, timeout, silence=None if profile.browses else SILENCE) is True
        finally:
            self._leave(subscription)

    async def take(self, queue: str, name: str, *, timeout: float = TAKE_TIMEOUT) -> Frame | None:
        """Take one message by its name, to be acknowledged by :meth:`remove`; None if it is not there.

        Nobody else gets it as long as this visit lasts; if it ends without :meth:`remove` the message is back in its
        place, marked as redelivered. Raises :class:`HeldError` if somebody else has it at the moment.
        """
        profile = self.profile
        found: list[Frame] = []

        def seen(frame: Frame) -> bool:
            found.append(frame)
            return True

        if profile.browses:  # a message that somebody holds is seen all the same
            await self.look(queue, seen, only=name)
            if not found:
                return None
        taking = _Looking()
        taken: list[Frame] = []

        def came(frame: Frame) -> None:
            taking.touched()
            if not taking.over.done() and profile.letter_name(frame) == name:
                taken.append(frame)
                taking.end(whole=False)

        self._subscribe(profile.pick(queue, name), came, taking)
        await self._until(taking, timeout, silence=None if profile.browses else SILENCE)
        if not taken and found:
            raise HeldError(f"somebody else holds the message {name[:200]!r}")
        return taken[0] if taken else None

    async def remove(self, frame: Frame) -> None:
        """Acknowledge what :meth:`take` gave, and wait until the broker has done it.

        Raises also :class:`ReceiptTimeoutError`; with that, or a lost connection, nobody knows whether it is gone.
        """
        self._acks += 1
        receipt = f"removed-{self._acks}"
        if self._lost.done():
            raise self._lost.result()
        fields = [*ack_headers(frame), ("receipt", receipt)]
        await self.client.request_receipt(encode("ACK", fields), receipt, timeout=ACK_TIMEOUT)

    # -- inside

    def _subscribe(self, headers: Mapping[str, str], came: Callable[[Frame], None], looking: _Looking) -> Subscription:
        return self.client.subscribe(lambda _: headers, came, name="dead-letters", on_answer=looking.answered)

    def _leave(self, subscription: Subscription) -> None:
        with suppress(ActiveMQError):  # the connection's end is near anyway
            self.client.unsubscribe(subscription)

    async def _until(self, looking: _Looking, timeout: float, *, silence: float | None) -> bool | None:
        """Wait; True: the whole was seen, None: the time was over. ``silence``: seconds that mean the end."""
        end = looking.loop.time() + timeout
        while True:
            now = looking.loop.time()
            quiet = end if silence is None else min(end, looking.last + silence)
            if quiet <= now:
                return None if quiet == end else True
            either: list[asyncio.Future[Any]] = [looking.over, self._lost]
            await asyncio.wait(either, timeout=quiet - now, return_when=asyncio.FIRST_COMPLETED)
            if looking.over.done():
                return looking.over.result()
            if self._lost.done():
                raise self._lost.result()

    def _on_lost(self, error: Exception) -> None:
        """Have whoever waits hear of it: what the next connection brings belongs to no look of ours."""
        if not self._lost.done():
            self._lost.set_result(ConnectionLostError(str(error)))


class _Looking:
    """A subscription that somebody waits for."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.over: asyncio.Future[bool] = self.loop.create_future()
        self.last = self.loop.time()

    def touched(self) -> None:
        self.last = self.loop.time()

    def end(self, *, whole: bool) -> None:
        if not self.over.done():
            self.over.set_result(whole)

    def answered(self, error: ServerError | None) -> None:
        self.touched()
        if error is not None and not self.over.done():
            self.over.set_exception(error)


__all__ = ["HeldError", "ReceiptTimeoutError", "Visit"]
