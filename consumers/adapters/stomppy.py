"""A listener with which a program that is on stomp.py already becomes a worker.

::

    connection = stomp.Connection([("127.0.0.1", 61613)], heartbeats=(10_000, 10_000))
    connection.set_listener("worker", WorkerListener(connection, "hello", hello))
    connection.connect(login, passcode, wait=True)
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final

from activemq.brokers.profile import QUEUE_NAME
from activemq.clock import Clock
from activemq.errors import ConnectionLostError, MessageError, ProtocolError, ServerError
from activemq.frames import Frame
from activemq.message import POISON, RequestMessage, encode_copy, encode_poison, encode_reply
from consumers.adapters.stomppy_link import Link
from consumers.answer import (
    call_of,
    deadline_of,
    described,
    encode_answer,
    has_lost_its_body,
    is_over,
    refusal,
    replies_to,
    timings,
)
from consumers.counts import Counts
from consumers.delivery import NO_ROOM_PAUSE
from consumers.handler import is_async, make_call
from consumers.policies.attempts import Verdict, judge, told
from consumers.policies.cancellations import Cancellations
from consumers.reply import BadReplyError, RefusedError, Reply
from consumers.request import Request

try:
    import stomp
    from stomp.exception import StompException
except ImportError as missing:
    raise ImportError(
        "consumers.adapters.stomppy needs stomp.py: pip install '.[stomppy]' in a checkout of activemq-rest-bridge"
    ) from missing

if TYPE_CHECKING:
    from consumers.adapters.stomppy_link import StompConnection, StompFrame
    from consumers.handler import Function

log = logging.getLogger(__name__)

_VERSIONS: Final = ("1.1", "1.2")
_REPLACEMENT: Final = "\ufffd"  # what stomp.py's auto_decode leaves of bytes that are not UTF-8


class WorkerListener(stomp.ConnectionListener):  # type: ignore[misc] # stomp.py has no types
    """Takes the messages of a queue, runs a function for each, replies, and acknowledges.

    It keeps to the message contract as the Worker does: prefetch 1 for each slot, the reply's receipt before the ACK,
    nothing started after its deadline, a message that was lost with its worker handed on with its attempts counted.
    It does not tell ``started``.

    Functions run in a pool of threads, one for each slot, so that stomp.py's own threads go on reading and sending
    heart-beats. Set it before ``connect()``: it subscribes whenever the connection is up. To connect again after a
    loss is the program's affair, as ever with stomp.py.

    :param connection: stomp.py's, for STOMP 1.1 or 1.2, not connected yet
    :param queue: the queue's name
    :param function: as for a Worker, but not ``async``: TypeError
    :param slots: how many messages at a time
    :param name: shown to those who look at the timings of a call
    :param clock: a measured one if this machine's and the broker's clocks differ, since a deadline is in the broker's
        time; this listener does not measure

    Raises ValueError for a connection or a queue that will not do.
    """

    def __init__(
        self,
        connection: StompConnection,
        queue: str,
        function: Function,
        slots: int = 1,
        *,
        name: str = "stomp.py",
        clock: Clock | None = None,
    ) -> None:
        if is_async(function):
            raise TypeError("WorkerListener runs plain functions; for async ones use consumers.Worker")
        if connection.version not in _VERSIONS:
            raise ValueError("WorkerListener needs a StompConnection11 or StompConnection12")
        if connection.is_connected():
            raise ValueError("WorkerListener must be there before connect(): it subscribes when the connection is up")
        if not QUEUE_NAME.fullmatch(queue):
            raise ValueError(f"queue {queue!r}: must be 1 to 128 letters, digits and . _ -")
        self.counts = Counts()
        self._link = Link(connection, queue, name, slots)
        self._queue = queue
        self._call = make_call(function)
        self._name = name
        self._clock = clock or Clock()
        self._cancellations = Cancellations(None)
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix=name)
        self._lock = threading.Lock()  # guards what follows
        self._busy: set[tuple[str, int]] = set()  # slots, each with its generation
        self._closing = False

    def close(self) -> None:
        """Take nothing more and wait for what runs, its reply and its ACK; then disconnect."""
        with self._lock:
            self._closing = True
            idle = [slot for slot in self._link.slots if (slot, self._link.generation) not in self._busy]
        for slot in idle:
            self._link.unsubscribe(slot)
        self._pool.shutdown()

    # -- what stomp.py calls, in its own threads

    def on_connecting(self, host_and_port: object) -> None:  # noqa: ARG002 - stomp.py's signature
        """Make the socket ready."""
        self._link.prepare()

    def on_connected(self, frame: StompFrame) -> None:
        """Subscribe, on each connection anew."""
        self._link.begin(frame.headers.get("server", ""))
        if not self._closing:
            for slot in self._link.slots:
                self._link.subscribe(slot)
            self._link.subscribe_to_cancellations()

    def on_message(self, frame: StompFrame) -> None:
        """Hand a message of ours to a thread."""
        slot = frame.headers.get("subscription", "")
        if slot == self._link.cancel_id:
            self._cancellations.on_cancel(Frame.of("MESSAGE", frame.headers))
        elif slot in self._link.slots:
            with self._lock:
                if self._closing:
                    return  # it goes back with the subscription
                generation = self._link.generation
                self._busy.add((slot, generation))
                self._pool.submit(self._work, frame, slot, generation)

    def on_receipt(self, frame: StompFrame) -> None:
        """Let the thread go on that waits for it."""
        self._link.settle(frame.headers.get("receipt-id"))

    def on_error(self, frame: StompFrame) -> None:
        """Do the same for a refusal; one that answers nothing of ours is for the program's own listeners."""
        receipt = frame.headers.get("receipt-id")
        self._link.settle(receipt, ServerError(frame.headers.get("message") or "no reason given", receipt))

    def on_disconnected(self) -> None:
        """Let all go on that wait: their messages are another worker's now."""
        self._link.end()

    # -- in a thread of the pool

    def _work(self, frame: StompFrame, slot: str, generation: int) -> None:
        message_id = frame.headers.get("message-id")
        try:
            self._serve(frame, generation)
        except (StompException, ConnectionLostError, OSError) as error:
            self.counts.returned += 1
            log.warning("message %s: the connection died (%s); another worker has it", message_id, error)
        except Exception:
            log.exception("message %s: a defect; it is not acknowledged", message_id)
        with self._lock:
            self._busy.discard((slot, generation))
            leave = self._closing and generation == self._link.generation
        if leave:
            self._link.unsubscribe(slot)

    def _serve(self, frame: StompFrame, generation: int) -> None:
        if generation != self._link.generation:
            raise ConnectionLostError("its connection is gone")
        message = _message_of(frame, tells_text=self._link.profile.tells_text)
        try:
            if message.redelivered and not self._judge(message, frame, generation):
                return
            outcome, properties = self._run(message)
            if outcome is not None:
                self._reply(message, outcome, generation, properties)
        except ProtocolError as error:  # a header that the reply needs: nobody can be told
            self.counts.failed += 1
            log.error("call %s: cannot be read, and is dropped: %s", call_of(message), error)  # noqa: TRY400 - it says all
        self._link.ack(frame, generation)

    def _judge(self, message: RequestMessage, frame: StompFrame, generation: int) -> bool:
        """Deal with a message that was lost with another worker; True if it is to be run all the same."""
        try:
            verdict = judge(message)
        except MessageError:
            return True  # which says so, to the requester too
        if verdict is Verdict.AGAIN and not self._hand_on(message, frame, generation):
            verdict = Verdict.POISONED
        if verdict is Verdict.LOST:
            self.counts.lost += 1
            log.warning("call %s: its worker was lost; the caller is told", call_of(message))
            self._reply(message, "worker-lost", generation, told(message))
            self._link.ack(frame, generation)
        elif verdict is Verdict.POISONED:
            self._park(message, frame, generation)
        return verdict is Verdict.RUN

    def _hand_on(self, message: RequestMessage, frame: StompFrame, generation: int) -> bool:
        """Put a copy that counts at the end of the queue; False if the message cannot be copied."""
        profile = self._link.profile
        copy = partial(encode_copy, message, profile.queue(self._queue), message.attempt + 1, resent=profile.resent)
        try:
            self._link.replace(frame, generation, copy, str(message.attempt + 1))
        except MessageError as error:
            log.error("call %s: cannot be handed on: %s", call_of(message), error)  # noqa: TRY400 - the message's fault
            return False
        self.counts.handed_on += 1
        log.warning("call %s: a worker was lost with attempt %d; handed on", call_of(message), message.attempt)
        return True

    def _park(self, message: RequestMessage, frame: StompFrame, generation: int) -> None:
        """Put the message aside, as far as it can be sent again, and tell the requester."""
        name = self._queue + POISON
        self.counts.poisoned += 1
        log.error("call %s: lost %d times; parked in %s", call_of(message), message.attempt, name)
        self._reply(message, "poisoned", generation, told(message))
        try:
            profile = self._link.profile
            poison = partial(encode_poison, message, profile.queue(name), resent=profile.resent)
            self._link.replace(frame, generation, poison, "poison")
        except MessageError as error:
            log.error("call %s: cannot be parked, and is dropped: %s", call_of(message), error)  # noqa: TRY400 - as above
            self._link.ack(frame, generation)

    def _run(self, message: RequestMessage) -> tuple[Reply | str | None, list[tuple[str, str]]]:
        """Return what the function came to (None: nobody wants to know), and the timings."""
        picked_up = self._clock.now_ms()
        call = call_of(message)
        try:
            deadline = deadline_of(message)
        except MessageError as error:
            self.counts.failed += 1
            log.error("call %s: not run: %s", call, error)  # noqa: TRY400 - the message is at fault
            return "worker-failed", []
        if deadline is not None and picked_up >= deadline:
            self.counts.expired += 1
            log.info("call %s: picked up %d ms after its deadline, not run", call, picked_up - deadline)
            return None, []
        if (message.correlation_id or "") in self._cancellations:
            self.counts.skipped += 1
            log.info("call %s: over before it was picked up, not run", call)
            return None, []
        if has_lost_its_body(message):
            self.counts.unreadable += 1
            log.error("call %s: not run: a Map, Object or Stream message, whose body STOMP is not shown", call)
            return refusal(), []
        started = time.perf_counter()
        outcome = self._outcome(Request(message, self._clock))
        return outcome, timings(message, deadline, self._name, picked_up, time.perf_counter() - started)

    def _outcome(self, request: Request) -> Reply | str | None:
        call = call_of(request.message)

        def stop() -> None:
            request.cancelled = True

        self._cancellations.begin(request.correlation_id, stop)
        outcome: Reply | str
        try:
            outcome = self._call(request)
        except RefusedError as error:
            outcome = error.reply
        except BaseException as error:  # as in the Worker: whatever ends a function is its own failure
            self.counts.failed += 1
            log.exception("call %s: the handler failed", call)
            outcome = "bad-reply" if isinstance(error, BadReplyError) else "worker-failed"
        finally:
            self._cancellations.end(stop)
        if request.cancelled:
            self.counts.cancelled += 1
            log.info("call %s: over while it ran", call)
            return None
        return outcome

    def _reply(
        self, message: RequestMessage, outcome: Reply | str, generation: int, properties: list[tuple[str, str]]
    ) -> None:
        """Send the reply, if somebody waits for one, and wait for its receipt.

        A broker that has no room is asked again, as the Worker does: an ACK would lose the reply for good.
        """
        if not replies_to(message):
            return
        while True:
            receipt, confirmed = self._link.receipt(generation)
            self._link.send(self._encode(message, outcome, receipt, properties))
            if self._is_settled(message, confirmed):
                return
            time.sleep(NO_ROOM_PAUSE)

    def _encode(
        self, message: RequestMessage, outcome: Reply | str, receipt: str, properties: list[tuple[str, str]]
    ) -> bytes:
        if not isinstance(outcome, str):
            try:
                media_type = described(outcome, self._link.profile.media_type_header)
                return encode_answer(message, outcome, receipt, [*properties, *media_type])
            except BadReplyError as error:
                self.counts.failed += 1
                log.error("call %s: the reply cannot be sent: %s", call_of(message), error)  # noqa: TRY400 - it says all
                outcome = "bad-reply"
        return encode_reply(message, receipt=receipt, problem=outcome, properties=properties)

    def _is_settled(self, message: RequestMessage, confirmed: Future[None]) -> bool:
        """Wait for the receipt; False if the reply is to be sent again."""
        try:
            confirmed.result()  # for as long as it takes: the connection's end ends it too
            self.counts.replied += 1
        except ServerError as error:
            if self._link.profile.is_full(error.message) and not is_over(message, self._clock.now_ms()):
                log.warning("call %s: the broker has no room for the reply; it is asked again", call_of(message))
                return False
            self.counts.unwanted += 1  # the reply destination died with its requester: nobody to tell
            log.info("call %s: the reply was refused: %s", call_of(message), error.message)
        return True


def _message_of(frame: StompFrame, *, tells_text: bool) -> RequestMessage:
    """Return stomp.py's frame as a request message.

    Bytes that are not UTF-8 are lost where the connection decodes. Such a message is refused like one whose body is too
    large: to run it on something else would be worse.
    """
    body = frame.body or b""
    message = Frame.of("MESSAGE", frame.headers, body.encode() if isinstance(body, str) else body)
    message.tells_text = tells_text
    if isinstance(body, str) and _REPLACEMENT in body and "content-length" in frame.headers:
        log.error("a body of octets was lost in decoding: make the connection with auto_decode=False")
        message.oversize = len(message.body)
    return RequestMessage(message)
