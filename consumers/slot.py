"""One idle slot: takes one request message at a time, from its arrival to its acknowledgement."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from activemq.errors import (
    ActiveMQError,
    BufferFullError,
    ConnectionLostError,
    MessageError,
    ProtocolError,
    ServerError,
)
from activemq.message import RequestMessage, encode_reply
from consumers.answer import call_of, deadline_of, encode_answer, replies_to, timings
from consumers.reply import BadReplyError, RefusedError, Reply
from consumers.request import Request

if TYPE_CHECKING:
    from activemq import Client, Frame, Subscription
    from consumers.counts import Counts
    from consumers.handler import Handler

log = logging.getLogger(__name__)

_PAUSE: Final = 0.1  # seconds between two attempts to write to a broker that does not read


class Slot:
    """Holds at most one unacknowledged message: the next goes to whoever is idle.

    The order is: reply out, its receipt in, then ACK. A worker that dies before the ACK gives the message back.
    """

    def __init__(self, client: Client, queue: str, handler: Handler, name: str, counts: Counts) -> None:
        """``name``: the worker's, for those who look at the timings of a call."""
        self._client = client
        self._handler = handler
        self._name = name
        self._counts = counts
        self._receipts = 0
        self._inbox: deque[tuple[Frame, int]] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._draining = False
        self.busy = False
        self.subscription: Subscription = client.subscribe(lambda p: p.consume(queue), self._on_message)

    def drain(self) -> None:
        """Take nothing more. An idle slot is told the broker at once, a busy one after its ACK.

        UNSUBSCRIBE before the ACK would hand the running message to another worker.
        """
        self._draining = True
        if not self.busy:
            self._leave()
            self._wake()

    async def run(self) -> None:
        """Serve until drained."""
        loop = asyncio.get_running_loop()
        while not self._draining:
            if not self._inbox:
                self._waiting = loop.create_future()
                await self._waiting
                continue
            frame, generation = self._inbox.popleft()
            self.busy = True
            try:
                await self._serve(frame, generation)
            finally:
                self.busy = False
        self._leave()

    def _leave(self) -> None:
        with suppress(ActiveMQError):  # a connection that is closing takes its subscriptions along
            self._client.unsubscribe(self.subscription)

    def _on_message(self, frame: Frame) -> None:
        self._inbox.append((frame, self._client.generation))
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _serve(self, frame: Frame, generation: int) -> None:
        message = RequestMessage(frame)
        if generation == self._client.generation:
            try:
                data = await self._work(message)
            except ProtocolError as error:  # a header that the reply needs: nobody can be told
                self._counts.failed += 1
                log.error("call %s: cannot be read, and is dropped: %s", call_of(message), error)  # noqa: TRY400 - the message is at fault
                data = None
            if data is not None and not await self._send(data, message, generation):
                return
        if not await self._acknowledge(frame, generation):
            self._counts.returned += 1
            log.warning("call %s: the connection died meanwhile; another worker has it", call_of(message))

    async def _work(self, message: RequestMessage) -> bytes | None:
        """Run the handler; return the frame to send, or None if nobody waits for one."""
        picked_up = self._client.clock.now_ms()
        try:
            deadline = deadline_of(message)
        except MessageError as error:
            self._counts.failed += 1
            log.error("call %s: not run: %s", call_of(message), error)  # noqa: TRY400 - the message is at fault
            return self._encode(message, "worker-failed") if replies_to(message) else None
        if deadline is not None and picked_up >= deadline:
            self._counts.expired += 1
            log.info("call %s: picked up %d ms after its deadline, not run", call_of(message), picked_up - deadline)
            return None
        started = time.perf_counter()
        outcome = await self._run(message)
        if not replies_to(message):
            return None
        return self._encode(message, outcome, timings(message, self._name, picked_up, time.perf_counter() - started))

    async def _run(self, message: RequestMessage) -> Reply | str:
        """Return the handler's reply, or the name of the problem that it ended with.

        Whatever a handler raises is its own failure, and the worker goes on: also the SystemExit of some library, and
        a cancellation that nobody asked for. Only a KeyboardInterrupt is the operator's.
        """
        try:
            return Reply.of(await self._handler(Request(message, self._client.clock)))
        except RefusedError as error:
            return error.reply
        except BadReplyError as error:
            return self._bad_reply(message, error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # it is we who are cancelled
            self._counts.failed += 1
            log.exception("call %s: the handler failed", call_of(message))
            return "worker-failed"

    def _bad_reply(self, message: RequestMessage, error: BadReplyError) -> str:
        self._counts.failed += 1
        log.error("call %s: the reply cannot be sent: %s", call_of(message), error)
        return "bad-reply"

    def _encode(
        self, message: RequestMessage, outcome: Reply | str, properties: list[tuple[str, str]] | None = None
    ) -> bytes:
        """Return the frame for a reply or a problem; a reply that cannot be sent becomes the word that it cannot."""
        self._receipts += 1
        receipt = self._receipt()
        if not isinstance(outcome, str):
            try:
                return encode_answer(message, outcome, receipt, properties or ())
            except BadReplyError as error:
                outcome = self._bad_reply(message, error)
        return encode_reply(message, receipt=receipt, problem=outcome, properties=properties or ())

    def _receipt(self) -> str:
        return f"{self.subscription.id}-{self._receipts}"

    async def _send(self, data: bytes, message: RequestMessage, generation: int) -> bool:
        """Send the reply and wait for its receipt; False if the message is not to be acknowledged.

        There is no bound in time: without the receipt there must be no ACK, and a dead broker shows in the
        heart-beats.
        """
        receipt = self._receipt()
        error: Exception | None
        try:
            error = await self._publish(data, receipt, generation)
        except ActiveMQError as not_sent:
            error = not_sent
        finally:
            self._client.forget_receipt(receipt)
        if isinstance(error, ServerError):  # the reply destination died with its requester: nobody to tell
            self._counts.unwanted += 1
            log.info("call %s: the reply was refused: %s", call_of(message), error.message)
        elif error is not None:
            self._counts.returned += 1
            log.warning("call %s: the reply did not get through (%s)", call_of(message), error)
            return False
        else:
            self._counts.replied += 1
        return True

    async def _publish(self, data: bytes, receipt: str, generation: int) -> Exception | None:
        confirmed: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        while generation == self._client.generation:
            try:
                self._client.publish(data, receipt, lambda _, error: confirmed.set_result(error))
            except BufferFullError:
                await asyncio.sleep(_PAUSE)
            else:
                return await confirmed
        raise ConnectionLostError("its connection is gone")

    async def _acknowledge(self, frame: Frame, generation: int) -> bool:
        """Acknowledge, whatever it takes: a slot with an unacknowledged message gets no other."""
        while True:
            try:
                return self._client.ack(frame, generation)
            except BufferFullError:
                await asyncio.sleep(_PAUSE)
            except ActiveMQError:  # it is closing
                return False
