"""One idle slot: takes one request message at a time, from its arrival to its acknowledgement."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from activemq.errors import ActiveMQError, MessageError, ProtocolError
from activemq.message import POISON, encode_copy, encode_poison, encode_reply
from consumers.answer import (
    deadline_of,
    described,
    encode_answer,
    has_lost_its_body,
    refusal,
    replies_to,
    timings,
)
from consumers.delivery import Delivery, renew
from consumers.notices import Notices
from consumers.policies.attempts import Verdict, judge, told
from consumers.reply import BadReplyError
from consumers.running import run_handler

if TYPE_CHECKING:
    from activemq import Client, Frame, Subscription
    from activemq.message import RequestMessage
    from consumers.counts import Counts
    from consumers.handler import Handler
    from consumers.policies import Policies
    from consumers.reply import Reply

log = logging.getLogger(__name__)


class Slot:
    """Holds at most one unacknowledged message: the next goes to whoever is idle.

    The order is: reply out, its receipt in, then ACK. A worker that dies before the ACK gives the message back.
    """

    def __init__(
        self, client: Client, queue: str, handler: Handler, name: str, counts: Counts, policies: Policies
    ) -> None:
        """``name``: the worker's, for those who look at the timings of a call."""
        self._client = client
        self._queue = queue
        self._handler = handler
        self._name = name
        self._counts = counts
        self._policies = policies
        self._receipts = 0
        self._inbox: deque[Delivery] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._draining = False
        self.busy = False
        self._suspended = False
        self.subscription: Subscription = client.subscribe(lambda p: p.consume(queue), self._on_message)
        client.listen(lambda: None, self._on_lost)

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
            delivery = self._inbox.popleft()
            self.busy = True
            try:
                await self._serve(delivery)
            finally:
                self.busy = False
            if self._suspended and not self._draining:
                self._suspended = False
                await renew(self._client, self.subscription)
        self._leave()

    def _leave(self) -> None:
        with suppress(ActiveMQError):  # a connection that is closing takes its subscriptions along
            self._client.unsubscribe(self.subscription)

    def _on_message(self, frame: Frame) -> None:
        self._inbox.append(Delivery(self._client, frame, self._counts))
        self._wake()

    def _on_lost(self, _: Exception) -> None:
        """Do not subscribe on the next connection while a handler of this one still runs: the message would wait."""
        if self.busy:
            self._suspended = True
            self._client.unsubscribe(self.subscription)

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _serve(self, delivery: Delivery) -> None:
        if delivery.void:
            self._counts.returned += 1
            return
        try:
            if delivery.message.redelivered and not await self._judge(delivery):
                return
            data = await self._work(delivery)
        except ProtocolError as error:  # a header that the reply needs: nobody can be told
            self._counts.failed += 1
            log.error("call %s: cannot be read, and is dropped: %s", delivery.call, error)  # noqa: TRY400 - it says all
            data = None
        if data is None or await delivery.reply(data, self._receipt()):
            await delivery.acknowledge()

    async def _judge(self, delivery: Delivery) -> bool:
        """Deal with a message that was lost with another worker; True if it is to be run all the same."""
        message = delivery.message
        try:
            verdict = judge(message)
        except MessageError:
            return True  # which says so, to the requester too
        if verdict is Verdict.AGAIN and not await self._hand_on(delivery):
            verdict = Verdict.POISONED
        if verdict is Verdict.LOST:
            self._counts.lost += 1
            log.warning("call %s: its worker was lost; the caller is told", delivery.call)
            if await self._tell(delivery, "worker-lost"):
                await delivery.acknowledge()
        elif verdict is Verdict.POISONED:
            await self._park(delivery)
        return verdict is Verdict.RUN

    async def _hand_on(self, delivery: Delivery) -> bool:
        """Put a copy that counts at the end of the queue; False if the message cannot be copied."""
        message = delivery.message
        profile = self._client.profile
        copy = partial(encode_copy, message, profile.queue(self._queue), message.attempt + 1, resent=profile.resent)
        try:
            await delivery.replace(copy, str(message.attempt + 1), self.subscription)
        except MessageError as error:
            log.error("call %s: cannot be handed on: %s", delivery.call, error)  # noqa: TRY400 - the message is at fault
            return False
        self._counts.handed_on += 1
        log.warning("call %s: a worker was lost with attempt %d; handed on", delivery.call, message.attempt)
        return True

    async def _park(self, delivery: Delivery) -> None:
        """Put the message aside, as far as it can be sent again, and tell the requester."""
        message, name = delivery.message, self._queue + POISON
        self._counts.poisoned += 1
        log.error("call %s: lost %d times; parked in %s", delivery.call, message.attempt, name)
        if not await self._tell(delivery, "poisoned"):
            return
        try:
            profile = self._client.profile
            poison = partial(encode_poison, message, profile.queue(name), resent=profile.resent)
            await delivery.replace(poison, "poison", self.subscription)
        except MessageError as error:
            log.error("call %s: cannot be parked, and is dropped: %s", delivery.call, error)  # noqa: TRY400 - as above
            await delivery.acknowledge()

    async def _tell(self, delivery: Delivery, problem: str) -> bool:
        """Send a problem; False if the message is not to be acknowledged."""
        message = delivery.message
        if not replies_to(message):
            return True
        return await delivery.reply(self._encode(message, problem, told(message)), self._receipt())

    async def _work(self, delivery: Delivery) -> bytes | None:
        """Run the handler; return the frame to send, or None if nobody waits for one."""
        message, policies = delivery.message, self._policies
        picked_up = self._client.clock.now_ms()
        try:
            deadline = deadline_of(message)
        except MessageError as error:
            self._counts.failed += 1
            log.error("call %s: not run: %s", delivery.call, error)  # noqa: TRY400 - the message is at fault
            return self._encode(message, "worker-failed") if replies_to(message) else None
        if self._is_over(delivery, deadline, picked_up):
            return None
        if has_lost_its_body(message):
            return self._refuse(delivery)
        started = time.perf_counter()
        telling = policies.started.begin(message, delivery.generation)
        watchdog = policies.watchdog
        remaining = None if deadline is None else (deadline - picked_up) / 1_000
        watched = None if watchdog is None else watchdog.begin(message, remaining)
        try:
            notices = Notices(delivery, self._queue, policies.unasked)
            outcome = await run_handler(self._handler, delivery, self._client.clock, policies.cancellations, notices)
        finally:
            policies.started.end(telling)
            if watchdog is not None and watched is not None:
                watchdog.end(watched)
        if outcome is None:
            if not delivery.void:
                self._counts.cancelled += 1
                log.info("call %s: over while it ran", delivery.call)
            return None
        if isinstance(outcome, str):
            self._counts.failed += 1
        if not replies_to(message):
            return None
        worked = time.perf_counter() - started
        properties = timings(message, deadline, self._name, picked_up, worked)
        if delivery.told:  # so that the reply does not overtake them
            properties.append(("sequence", str(delivery.told + 1)))
        return self._encode(message, outcome, properties)

    def _is_over(self, delivery: Delivery, deadline: int | None, picked_up: int) -> bool:
        """Say whether nobody waits any more, as the deadline (epoch ms) or a cancellation tells; it is counted."""
        if deadline is not None and picked_up >= deadline:
            self._counts.expired += 1
            log.info("call %s: picked up %d ms after its deadline, not run", delivery.call, picked_up - deadline)
            return True
        if (delivery.message.correlation_id or "") in self._policies.cancellations:
            self._counts.skipped += 1
            log.info("call %s: over before it was picked up, not run", delivery.call)
            return True
        return False

    def _refuse(self, delivery: Delivery) -> bytes | None:
        """Return the frame that says that a message has no body for its handler."""
        self._counts.unreadable += 1
        log.error("call %s: not run: a Map, Object or Stream message, whose body STOMP is not shown", delivery.call)
        return self._encode(delivery.message, refusal()) if replies_to(delivery.message) else None

    def _encode(
        self, message: RequestMessage, outcome: Reply | str, properties: list[tuple[str, str]] | None = None
    ) -> bytes:
        """Return the frame for a reply or a problem; a reply that cannot be sent becomes the word that it cannot."""
        self._receipts += 1
        receipt = self._receipt()
        if not isinstance(outcome, str):
            try:
                media_type = described(outcome, self._client.profile.media_type_header)
                return encode_answer(message, outcome, receipt, [*(properties or ()), *media_type])
            except BadReplyError as error:
                self._counts.failed += 1
                log.error("call %s: the reply cannot be sent: %s", message.correlation_id, error)  # noqa: TRY400
                outcome = "bad-reply"
        return encode_reply(message, receipt=receipt, problem=outcome, properties=properties or ())

    def _receipt(self) -> str:
        return f"{self.subscription.id}-{self._receipts}"
