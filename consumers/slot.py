"""One idle slot: takes one request message at a time, from its arrival to its acknowledgement."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from activemq.errors import ActiveMQError, MessageError, ServerError
from activemq.message import RequestMessage, encode_reply
from consumers.handler import InvalidBodyError
from consumers.reply import Reply
from consumers.request import Request

if TYPE_CHECKING:
    from activemq import Client, Frame, Subscription
    from consumers.handler import Handler

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counts:
    """What the slots of a worker have done."""

    replied: int = 0
    failed: int = 0
    expired: int = 0  # picked up after the deadline: not run
    unwanted: int = 0  # the requester was gone when its reply came
    returned: int = 0  # the connection died before the acknowledgement: the broker hands it to another


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
            self._client.unsubscribe(self.subscription)
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
            data = await self._work(message)
            if data is not None and not await self._send(data, message, generation):
                return
        if not self._client.ack(frame, generation):
            self._counts.returned += 1
            log.warning("call %s: the connection died meanwhile; another worker has it", message.correlation_id)

    async def _work(self, message: RequestMessage) -> bytes | None:
        """Run the handler; return the frame to send, or None if nobody waits for one."""
        picked_up = self._client.clock.now_ms()
        try:
            deadline = message.deadline_ms
        except MessageError as error:
            log.error("call %s: %s", message.correlation_id, error)  # noqa: TRY400 - the message is at fault, not we
            return self._encode(message, Reply(), problem="worker-failed")
        if deadline is not None and picked_up >= deadline:
            self._counts.expired += 1
            log.info(
                "call %s: picked up %d ms after its deadline, not run", message.correlation_id, picked_up - deadline
            )
            return None
        started = time.perf_counter()
        problem = None
        try:
            reply = await self._handler(Request(message, self._client.clock))
        except InvalidBodyError as error:
            reply = error.reply
        except Exception:
            self._counts.failed += 1
            log.exception("call %s: the handler failed", message.correlation_id)
            reply, problem = Reply(), "worker-failed"
        if message.reply_to is None:
            return None
        return self._encode(message, reply, problem, self._timings(message, picked_up, started))

    def _timings(self, message: RequestMessage, picked_up: int, started: float) -> list[tuple[str, str]]:
        """Return the optional properties; a requester that is no bridge is not bothered with them."""
        end, budget = message.text("deadline_ms"), message.text("budget_ms")
        if end is None or budget is None or not budget.isdigit():
            return []
        queued = max(picked_up - (int(end) - int(budget)), 0)
        worked = (time.perf_counter() - started) * 1_000
        return [("worker", self._name), ("queue_ms", str(queued)), ("work_ms", f"{worked:.2f}")]

    def _encode(
        self,
        message: RequestMessage,
        reply: Reply,
        problem: str | None = None,
        properties: list[tuple[str, str]] | None = None,
    ) -> bytes | None:
        """Encode the reply; one that cannot be sent becomes the word that it cannot."""
        if message.reply_to is None:
            return None
        receipt = self._next_receipt()
        try:
            self._check_size(message, reply)
            return encode_reply(
                message,
                receipt=receipt,
                status=reply.status,
                content_type=reply.content_type,
                headers=reply.headers.items(),
                body=b"" if problem else reply.body,
                problem=problem,
                properties=properties or (),
            )
        except MessageError as error:
            self._counts.failed += 1
            log.error("call %s: the reply cannot be sent: %s", message.correlation_id, error)  # noqa: TRY400
            return encode_reply(message, receipt=receipt, problem="bad-reply", properties=properties or ())

    @staticmethod
    def _check_size(message: RequestMessage, reply: Reply) -> None:
        limit = message.number("max_reply")
        if limit is not None and len(reply.body) > limit:
            raise MessageError("body", f"is {len(reply.body)} bytes, over the route's limit of {limit}")

    def _next_receipt(self) -> str:
        self._receipts += 1
        return f"{self.subscription.id}-{self._receipts}"

    async def _send(self, data: bytes, message: RequestMessage, generation: int) -> bool:
        """Send the reply and wait for its receipt; False if the message is not to be acknowledged.

        There is no bound in time: without the receipt there must be no ACK, and a dead broker shows in the
        heart-beats.
        """
        if generation != self._client.generation:
            self._counts.returned += 1
            log.warning("call %s: its connection is gone; the reply is dropped", message.correlation_id)
            return False
        confirmed: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        receipt = f"{self.subscription.id}-{self._receipts}"
        try:
            self._client.publish(data, receipt, lambda _, error: confirmed.set_result(error))
            error = await confirmed
        except ActiveMQError as not_sent:
            error = not_sent
        finally:
            self._client.forget_receipt(receipt)
        if isinstance(error, ServerError):  # the reply destination died with its requester: nobody to tell
            self._counts.unwanted += 1
            log.info("call %s: the reply was refused: %s", message.correlation_id, error.message)
        elif error is not None:
            self._counts.returned += 1
            log.warning("call %s: the reply did not get through (%s)", message.correlation_id, error)
            return False
        else:
            self._counts.replied += 1
        return True
