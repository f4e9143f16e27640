"""A stomp.py connection as a worker needs it: generations, receipts, frames of ours. Called from several threads."""

from __future__ import annotations

import logging
import socket
import threading
import time
from concurrent.futures import Future
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol

from activemq.brokers import profile_for
from activemq.errors import ActiveMQError, ConnectionLostError, ServerError
from activemq.frames import CLIENT_COMMANDS, Frame, Limits
from activemq.parser import Parser
from consumers.policies.cancellations import CANCEL_TOPIC

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activemq.brokers import Profile
    from activemq.move import Encode

log = logging.getLogger(__name__)

_GIVE_BACK_AFTER: Final = 1.0  # seconds, so that a broker that cannot take a message is not asked in a loop


class StompFrame(Protocol):
    """What is used of ``stomp.utils.Frame``."""

    headers: dict[str, str]
    body: str | bytes | None


StompConnection = Any  # a StompConnection11 or StompConnection12; stomp.py has no types


class Link:
    """One stomp.py connection, and the next one after it is lost.

    Methods that send raise :class:`ConnectionLostError`, or stomp.py's own errors, if it is gone.
    """

    def __init__(self, connection: StompConnection, queue: str, name: str, slots: int) -> None:
        self._connection = connection
        self._queue = queue
        self._name = name
        self._receipts = count(1)
        self.slots: Sequence[str] = [f"{name}-{queue}-{number}" for number in range(1, slots + 1)]
        self.cancel_id = f"{name}-{queue}-cancel"
        self._lock = threading.Lock()  # guards what follows
        self.generation = 0  # what came over one connection is void on the next
        self._profile: Profile | None = None
        self._waiting: dict[str, Future[None]] = {}

    # -- its life, as stomp.py tells of it

    def prepare(self) -> None:
        """Switch Nagle's algorithm off: stomp.py does not, and an ACK right behind a reply then waits for 40 ms."""
        sock = self._connection.transport.socket
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def begin(self, server: str) -> None:
        """Begin a generation; ``server``: the header of the CONNECTED frame."""
        with self._lock:
            self._profile = profile_for("auto", server)
        self._next_generation()

    def end(self) -> None:
        """End it; all that wait hear of it."""
        if not self._connection.is_connected():  # else another listener has connected again already
            self._next_generation()

    def _next_generation(self) -> None:
        with self._lock:
            self.generation += 1
            waiting, self._waiting = self._waiting, {}
        for confirmed in waiting.values():
            confirmed.set_exception(ConnectionLostError("the connection was lost"))

    def settle(self, receipt: str | None, error: ActiveMQError | None = None) -> None:
        """Take the broker's answer to a receipt; those that are not ours are passed over."""
        with self._lock:
            confirmed = self._waiting.pop(receipt or "", None)
        if confirmed is None:
            return
        if error is None:
            confirmed.set_result(None)
        else:
            confirmed.set_exception(error)

    # -- what is sent

    @property
    def profile(self) -> Profile:
        """The broker's profile; raises ConnectionLostError before the first connection."""
        if self._profile is None:
            raise ConnectionLostError("there was no connection yet")
        return self._profile

    def subscribe(self, slot: str) -> None:
        """Subscribe one slot; if the broker refuses, the log says so."""
        receipt, confirmed = self.receipt(self.generation)
        confirmed.add_done_callback(partial(_log_refusal, self._queue))
        headers = {"id": slot, **self.profile.consume(self._queue), "receipt": receipt}
        self._connection.send_frame("SUBSCRIBE", headers)

    def subscribe_to_cancellations(self) -> None:
        """Hear of calls that are over; a login that may not is none the worse for it."""
        headers = {"destination": self.profile.topic(CANCEL_TOPIC), "id": self.cancel_id, "ack": "auto"}
        self._connection.send_frame("SUBSCRIBE", headers)

    def unsubscribe(self, slot: str) -> None:
        """End one slot's subscription, if there is a connection."""
        if self._connection.is_connected():
            self._connection.unsubscribe(slot)

    def receipt(self, generation: int) -> tuple[str, Future[None]]:
        """Return a receipt to ask for and what is settled when it comes; see :meth:`send`."""
        receipt = f"{self._name}-{self._queue}-{next(self._receipts)}"
        confirmed: Future[None] = Future()
        with self._lock:
            self._check(generation)
            self._waiting[receipt] = confirmed
        return receipt, confirmed

    def send(self, data: bytes, **headers: str) -> None:
        """Send an encoded frame through stomp.py, which has escapes, TLS and heart-beats of its own.

        ``headers`` are added to the frame's own.
        """
        (frame,) = Parser(Limits(max_body=len(data)), CLIENT_COMMANDS).feed(data)
        self._connection.send_frame(frame.command, frame.headers | headers, frame.body)

    def ack(self, frame: StompFrame, generation: int, **transaction: str) -> None:
        """Acknowledge a message, on its own connection only."""
        names = ("ack",) if self._connection.version == "1.2" else ("message-id", "subscription")
        with self._lock:  # or it could slip onto the next one
            self._check(generation)
            self._connection.ack(*(frame.headers[name] for name in names), **transaction)

    def replace(self, frame: StompFrame, generation: int, encode: Encode, what: str) -> None:
        """Put another message in this one's place; if the broker will not, give it back.

        As :func:`activemq.move.move` does; what ``encode`` raises is raised, with nothing sent.
        """
        try:
            if self.profile.acks_in_transactions:
                self._in_transaction(frame, generation, encode)
            else:
                data = encode(self.profile.once(Frame.of("MESSAGE", frame.headers), what))
                receipt, confirmed = self.receipt(generation)
                self.send(data, receipt=receipt)
                confirmed.result()
                self.ack(frame, generation)
        except ServerError as error:
            log.error("message %s could not be moved: %s", frame.headers.get("message-id"), error)  # noqa: TRY400 - it says all
            time.sleep(_GIVE_BACK_AFTER)
            with self._lock:
                self._check(generation)  # the next connection's subscription is none of this message's
            self.unsubscribe(frame.headers["subscription"])
            self.subscribe(frame.headers["subscription"])

    def _in_transaction(self, frame: StompFrame, generation: int, encode: Encode) -> None:
        name = f"{self._name}-{self._queue}-move-{next(self._receipts)}"
        data = encode([("transaction", name)])
        receipt, confirmed = self.receipt(generation)
        self._connection.begin(transaction=name)
        self.send(data, receipt=receipt)
        self._taken(name, confirmed)  # before the ACK: a COMMIT behind a refused SEND could strand the message
        receipt, confirmed = self.receipt(generation)
        self.ack(frame, generation, transaction=name)
        self._connection.commit(transaction=name, receipt=receipt)
        confirmed.result()

    def _taken(self, transaction: str, confirmed: Future[None]) -> None:
        try:
            confirmed.result()
        except ServerError:
            self._connection.abort(transaction=transaction)
            raise

    def _check(self, generation: int) -> None:
        if generation != self.generation:
            raise ConnectionLostError("its connection is gone")


def _log_refusal(queue: str, confirmed: Future[None]) -> None:
    error = confirmed.exception()
    if isinstance(error, ServerError):
        log.error("the broker refused the subscription to %s: %s", queue, error.message)
