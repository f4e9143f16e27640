"""One message that was taken, and what is said about it to the broker: reply, ACK, or another message in its place."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from activemq.errors import (
    ActiveMQError,
    BufferFullError,
    ConnectionLostError,
    MessageError,
    NotConnectedError,
    ServerError,
)
from activemq.message import RequestMessage
from consumers.answer import call_of, is_over

if TYPE_CHECKING:
    from activemq import Client, Frame, Subscription
    from activemq.move import Encode
    from consumers.counts import Counts

log = logging.getLogger(__name__)

_PAUSE: Final = 0.1  # seconds between two attempts to write to a broker that does not read
NO_ROOM_PAUSE: Final = 0.5  # seconds between two attempts at a broker that is full
_GIVE_BACK_AFTER: Final = 1.0  # seconds, so that a broker that cannot take a message is not asked in a loop


class Delivery:
    """A message and the connection that it came by: whatever is said about it on another connection is void."""

    __slots__ = ("_client", "_counts", "frame", "generation", "message", "told")

    def __init__(self, client: Client, frame: Frame, counts: Counts) -> None:
        self._client = client
        self._counts = counts
        self.frame = frame
        self.generation = client.generation
        self.message = RequestMessage(frame)
        self.told = 0  # the number of the last notice, of progress or a part

    @property
    def void(self) -> bool:
        """Whether its connection is gone: the broker gives it to another worker."""
        return not self._client.alive(self.generation)

    @property
    def call(self) -> str:
        """What names the call in log lines."""
        return call_of(self.message)

    async def reply(self, data: bytes, receipt: str) -> bool:
        """Send a reply and wait for its receipt; False if the message is not to be acknowledged.

        There is no bound in time: without the receipt there must be no ACK, and a dead broker shows in the
        heart-beats. A broker that has no room is asked again until nobody waits for the reply any more: an ACK would
        lose it for good.
        """
        error = await self._send(data, receipt)
        if self._has_no_room(error):
            log.warning("call %s: the broker has no room for the reply; it is asked again", self.call)
        while self._has_no_room(error) and not is_over(self.message, self._client.clock.now_ms()):
            await asyncio.sleep(NO_ROOM_PAUSE)
            error = await self._send(data, receipt)
        if isinstance(error, ServerError):  # the reply destination died with its requester: nobody to tell
            self._counts.unwanted += 1
            log.info("call %s: the reply was refused: %s", self.call, error.message)
        elif error is not None:
            self._counts.returned += 1
            log.warning("call %s: the reply did not get through (%s)", self.call, error)
            return False
        else:
            self._counts.replied += 1
        return True

    async def _send(self, data: bytes, receipt: str) -> Exception | None:
        """Send and wait for the receipt; return why there is none to come."""
        try:
            return await self._publish(data, receipt)
        except ActiveMQError as not_sent:
            return not_sent
        finally:
            self._client.forget_receipt(receipt)

    def _has_no_room(self, error: Exception | None) -> bool:
        return isinstance(error, ServerError) and self._client.profile.is_full(error.message)

    def notify(self, data: bytes) -> None:
        """Send a notice, unless the connection is gone: then another worker has the message."""
        if not self.void:
            with suppress(NotConnectedError):
                self._client.send(data)

    async def drain(self) -> None:
        """Wait while the broker does not read."""
        await self._client.drain()

    async def acknowledge(self) -> None:
        """Acknowledge, whatever it takes: a slot with an unacknowledged message gets no other."""
        while True:
            try:
                if self._client.ack(self.frame, self.generation):
                    return
            except BufferFullError:
                await asyncio.sleep(_PAUSE)
                continue
            except ActiveMQError:  # it is closing
                pass
            self._counts.returned += 1
            log.warning("call %s: the connection died meanwhile; another worker has it", self.call)
            return

    async def replace(self, encode: Encode, what: str, subscription: Subscription) -> None:
        """Put another message in its place; if the broker will not, give it back after a while.

        See :func:`activemq.move.move`; a MessageError that ``encode`` raises is raised: asking again would not help.
        """
        try:
            await self._client.move(self.frame, self.generation, encode, what)
        except MessageError:
            raise
        except ConnectionLostError:
            self._counts.returned += 1  # the broker has it, as it was
        except ActiveMQError as error:
            log.error("call %s: could not be moved: %s", self.call, error)  # noqa: TRY400 - it says all
            await asyncio.sleep(_GIVE_BACK_AFTER)
            await renew(self._client, subscription)

    async def _publish(self, data: bytes, receipt: str) -> Exception | None:
        confirmed: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

        def on_receipt(_: str, error: Exception | None) -> None:
            if not confirmed.done():  # cancelled in this very turn
                confirmed.set_result(error)

        while not self.void:
            try:
                self._client.publish(data, receipt, on_receipt)
            except BufferFullError:
                await asyncio.sleep(_PAUSE)
            else:
                return await confirmed
        raise ConnectionLostError("its connection is gone")


async def renew(client: Client, subscription: Subscription) -> None:
    """Begin a subscription again, also if the broker does not read at the moment."""
    while True:
        try:
            return client.renew(subscription)
        except BufferFullError:
            await asyncio.sleep(_PAUSE)
