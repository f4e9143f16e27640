"""Keeps a connection to one of several brokers up.

Each connection has a generation, a number that rises by one: whatever came over one connection (a message to be
acknowledged, a receipt waited for) is void on the next.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final, Self

from activemq.brokers import Profile, profile_for
from activemq.clock import Clock
from activemq.connection import Connection
from activemq.errors import (
    ActiveMQError,
    ConnectFailedError,
    ConnectionLostError,
    NotConnectedError,
    ReceiptTimeoutError,
    ServerError,
)
from activemq.frames import Limits
from activemq.frames import encode as encode_frame
from activemq.protocol import Credentials, Stomp
from activemq.servers import Backoff, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activemq.connection import Channel
    from activemq.frames import Frame

    OnMessage = Callable[[Frame], None]
    OnReceipt = Callable[[str, Exception | None], None]
    OnAnswer = Callable[[ServerError | None], None]

log = logging.getLogger(__name__)

ECHO_TIMEOUT: Final = 2.0  # seconds
SUBSCRIBE_TIMEOUT: Final = 10.0  # seconds
MOVE_TIMEOUT: Final = 30.0  # seconds
STABLE_AFTER: Final = 1.0  # seconds; a connection that dies sooner counts as a failed attempt


@dataclass(eq=False, slots=True)
class Subscription:
    """A subscription that is renewed on each connection. ``error`` says why the broker refused it, if it did."""

    id: str
    headers: Callable[[Profile], Mapping[str, str]]
    on_message: OnMessage = field(repr=False)
    error: ServerError | None = None
    on_answer: OnAnswer | None = field(default=None, repr=False)
    sent: int = field(default=0, repr=False)  # the generation of the connection that it was last asked for on


class Client:
    """A connection that is kept up, and what is done over it.

    ``servers`` are tried in their order, again and again; ``kind`` names a profile or is ``auto``. Messages and
    receipts are handed over by plain calls on the loop: what they call must not block.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        credentials: Credentials | None = None,
        *,
        kind: str = "auto",
        heartbeat: float = 10.0,
        limits: Limits | None = None,
        connect_timeout: float = 5.0,
        backoff: Backoff | None = None,
    ) -> None:
        if not servers:
            raise ValueError("a client needs at least one server")
        self.clock = Clock()
        self.generation = 0
        self.last_error: Exception | None = None
        self._servers = tuple(servers)
        self._credentials = credentials or Credentials()
        self._kind = kind
        self._heartbeat = heartbeat
        self._limits = limits or Limits()
        self._connect_timeout = connect_timeout
        self._backoff = backoff or Backoff()
        self._connection: Channel | None = None  # set while frames may be sent
        self._profile: Profile | None = None
        self._connected = asyncio.Event()
        self._ended = asyncio.Event()  # of the present connection
        self._subscriptions: dict[str, Subscription] = {}
        self._receipts: dict[str, OnReceipt] = {}
        self._renewed = 0  # the generation whose connection has been sent all subscriptions
        self._complaints: dict[Server, str] = {}  # what was logged already
        self._ids = count(1)
        # Not to be guessed: Classic hands on a JMS text with a NUL as it is, and behind the NUL may stand what looks
        # like a frame for one of our subscriptions.
        self._token = secrets.token_hex(4)
        self._listeners: list[tuple[Callable[[], None], Callable[[Exception], None]]] = []
        self._supervisor: asyncio.Task[None] | None = None

    # -- life

    async def start(self) -> None:
        """Begin to connect, and return; see :meth:`wait_connected`."""
        if self._supervisor is None:
            self._supervisor = asyncio.create_task(self._supervise(), name="broker connection")

    async def stop(self) -> None:
        """Say DISCONNECT and stay away. Whatever still waits gets :class:`ConnectionLostError`."""
        supervisor, self._supervisor = self._supervisor, None
        try:
            if supervisor is not None:
                supervisor.cancel()
                await asyncio.wait([supervisor])  # not `await supervisor`: whose cancellation was it then?
        finally:
            if self._connection is not None:
                await self._connection.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def connected(self) -> bool:
        """True from the moment that all subscriptions are in place until the connection is lost."""
        return self._connected.is_set()

    async def wait_connected(self) -> None:
        """Wait for a connection with all subscriptions in place; bound it with ``asyncio.timeout``."""
        await self._connected.wait()

    @property
    def profile(self) -> Profile:
        """The present broker's profile; raises :class:`NotConnectedError` before the first connection."""
        if self._profile is None:
            raise NotConnectedError("no broker has answered yet")
        return self._profile

    def listen(self, on_connected: Callable[[], None], on_lost: Callable[[Exception], None]) -> None:
        """Have these called, on the loop, whenever a connection is ready and when it is lost."""
        self._listeners.append((on_connected, on_lost))

    # -- receiving

    def subscribe(
        self,
        headers: Callable[[Profile], Mapping[str, str]],
        on_message: OnMessage,
        *,
        name: str | None = None,
        on_answer: OnAnswer | None = None,
    ) -> Subscription:
        """Subscribe now and on every later connection.

        ``headers`` makes the SUBSCRIBE headers from the broker's profile, e.g. ``lambda p: p.consume("orders")``;
        ``name`` begins its id, for those who look at the broker.
        If the broker refuses, it is logged and ``Subscription.error`` says why. ``on_answer`` is called with None, or
        with that, each time that the broker answers.
        """
        subscription_id = f"{name or 's'}-{self._token}-{next(self._ids)}"
        subscription = Subscription(subscription_id, headers, on_message, on_answer=on_answer)
        self._begin(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; messages that are still on their way are dropped.

        Raises :class:`BufferFullError`, with nothing changed.
        """
        known = subscription.id in self._subscriptions
        live = subscription.sent == self.generation and subscription.error is None
        if known and live and self._connection is not None:
            with suppress(NotConnectedError):  # it is closing, and the subscription ends with it
                self._connection.write(encode_frame("UNSUBSCRIBE", [("id", subscription.id)]))
        subscription.sent = 0
        self._subscriptions.pop(subscription.id, None)

    def alive(self, generation: int) -> bool:
        """Say whether the connection of that generation is still there."""
        return generation == self.generation and self._connection is not None

    def ack(self, frame: Frame, generation: int) -> bool:
        """Acknowledge a message. Returns False, and sends nothing, if its connection is gone.

        The broker has given the message to somebody else then.
        """
        if generation != self.generation or self._connection is None:
            return False
        if frame.version == "1.2":
            data = f"ACK\nid:{frame.raw('ack')}\n\n\0"
        else:
            data = f"ACK\nsubscription:{frame.raw('subscription')}\nmessage-id:{frame.raw('message-id')}\n\n\0"
        try:
            self._connection.write(data.encode())
        except NotConnectedError:
            return False
        return True

    # -- sending

    def publish(self, data: bytes, receipt: str, on_receipt: OnReceipt) -> None:
        """Send an encoded frame that asks for ``receipt``; the hot path, no waiting.

        ``on_receipt(receipt, error)`` is called once: with None when the broker confirms, with its
        :class:`ServerError`, or with :class:`ConnectionLostError`. Raises, with nothing sent,
        :class:`NotConnectedError` or :class:`BufferFullError`.
        """
        connection = self._connection
        if connection is None:
            raise NotConnectedError("no connection to the broker")
        connection.write(data)
        self._receipts[receipt] = on_receipt

    def forget_receipt(self, receipt: str) -> None:
        """Do not call back for this receipt any more."""
        self._receipts.pop(receipt, None)

    def send(self, data: bytes) -> None:
        """Send an encoded frame without asking for a receipt. Raises as :meth:`publish`."""
        if self._connection is None:
            raise NotConnectedError("no connection to the broker")
        self._connection.write(data)

    async def drain(self) -> None:
        """Wait while what was sent is above the high watermark; returns at once if there is no connection."""
        if self._connection is not None:
            with suppress(ActiveMQError):  # lost meanwhile: whoever sends next will hear of it
                await self._connection.drain()

    async def request_receipt(self, data: bytes, receipt: str, *, timeout: float) -> None:
        """:meth:`publish`, and wait for at most ``timeout`` seconds.

        Raises also :class:`ServerError`, :class:`ConnectionLostError` and :class:`ReceiptTimeoutError`.
        """
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.publish(data, receipt, lambda _, error: _settle(confirmed, error))
        try:
            async with asyncio.timeout(timeout):
                await confirmed
        except TimeoutError:
            raise ReceiptTimeoutError(f"the broker did not confirm within {timeout:g} s") from None
        finally:
            self._receipts.pop(receipt, None)

    async def move(self, frame: Frame, generation: int, encode: Callable[[str], bytes]) -> None:
        """Acknowledge a message and send another in its place: both or neither, where the broker can.

        ``encode`` gets the transaction's name and returns the SEND frame, without a receipt. Raises
        :class:`ServerError` if the broker refuses, :class:`ConnectionLostError` if the connection is not the message's
        any more, :class:`ReceiptTimeoutError` if it does not answer, and as :meth:`publish`. The message is
        unacknowledged then; :meth:`renew` gives it to somebody else.
        """
        name = f"move{next(self._ids)}"
        send = encode(name).removeprefix(b"SEND\n")
        # Not all in one piece: if Classic has refused the SEND it still takes the ACK and the COMMIT (the message is
        # lost), or fails the COMMIT and keeps the message until the connection ends; which, depends on whether the
        # SEND asked for a receipt [6.3.1]. So it is asked first.
        sent = encode_frame("BEGIN", [("transaction", name)]) + f"SEND\nreceipt:{name}-sent\n".encode() + send
        self._require(generation)
        try:
            await self.request_receipt(sent, f"{name}-sent", timeout=MOVE_TIMEOUT)
            self._require(generation)
        except BaseException:
            if generation == self.generation:
                with suppress(ActiveMQError):  # with no connection there is no transaction either
                    self.send(encode_frame("ABORT", [("transaction", name)]))
            raise
        ack = encode_frame("ACK", [("id", frame.get("ack") or ""), ("transaction", name)])
        commit = encode_frame("COMMIT", [("transaction", name), ("receipt", name)])
        await self.request_receipt(ack + commit, name, timeout=MOVE_TIMEOUT)

    def _require(self, generation: int) -> None:
        if generation != self.generation:
            raise ConnectionLostError("the message's connection is gone")

    def renew(self, subscription: Subscription) -> None:
        """End a subscription and begin it again: the broker hands what it had not acknowledged to others.

        Raises :class:`BufferFullError`; call it again then.
        """
        self.unsubscribe(subscription)
        self._begin(subscription)

    def _begin(self, subscription: Subscription) -> None:
        if self._connection is not None and self._renewed == self.generation:
            with suppress(NotConnectedError):  # it is closing; the next one will be asked
                self._send_subscribe(self._connection, subscription, self._subscribed)
        self._subscriptions[subscription.id] = subscription

    # -- the supervisor

    async def _supervise(self) -> None:
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            lived = 0.0  # seconds; the time that a failing attempt takes does not count
            for server in self._servers:
                self._ended.clear()
                if await self._try(server):
                    ready = loop.time()
                    await self._ended.wait()
                    lived = loop.time() - ready
                    break
            failures = 0 if lived > STABLE_AFTER else failures + 1
            if failures:
                await asyncio.sleep(self._backoff.delay(failures))

    async def _try(self, server: Server) -> bool:
        """Connect to one server and make it ready; False, with the reason logged, if that fails."""
        try:
            connection = await self._open(server)
        except ActiveMQError as error:
            self._failed(server, error)
            return False
        try:
            self._profile = profile_for(self._kind, connection.server)
            self._connection = connection
            self.generation += 1
            await self._measure_clock()
            await self._subscribe_all(connection)
            self._live()  # it may have been lost while the last receipts came
        except Exception as error:
            if not isinstance(error, ActiveMQError):  # a bug in a subscription's headers() must not end all attempts
                log.exception("could not make the connection ready")
            self._connection = None
            connection.abort(error)
            await connection.closed
            self._failed(server, error)
            return False
        except asyncio.CancelledError:
            connection.abort(ConnectionLostError("closed by us"))
            raise
        self.last_error = None
        self._complaints.clear()
        self._connected.set()
        log.info("connected to %s (%s)", server, connection.server)
        for on_connected, _ in self._listeners:
            _call(on_connected)
        return True

    async def _open(self, server: Server) -> Channel:
        stomp = Stomp(self._credentials, self._heartbeat, self._limits)
        return await Connection.open(
            server.host,
            server.port,
            stomp,
            self._on_frame,
            self._on_lost,
            tls=server.tls,
            timeout=self._connect_timeout,
        )

    def _failed(self, server: Server, error: Exception) -> None:
        # Once for each new reason: a broker that is down for an hour is one line, not five thousand.
        if self._complaints.get(server) != str(error):
            self._complaints[server] = str(error)
            log.warning("cannot use a broker: %s; trying again", error)
        self.last_error = error

    def _on_lost(self, error: Exception) -> None:
        was_ready = self.connected
        self._connection = None
        self._connected.clear()
        self.last_error = error
        self._ended.set()
        lost = ConnectionLostError(str(error))
        receipts, self._receipts = self._receipts, {}
        if was_ready:
            if self._supervisor is not None:
                log.warning("lost the broker: %s", error)
            for _, on_lost in self._listeners:
                _call(on_lost, lost)
        for receipt, on_receipt in receipts.items():
            _call(on_receipt, receipt, lost)

    async def _measure_clock(self) -> None:
        """Send ourselves a message and read the broker's `timestamp` off it (both ActiveMQs stamp a STOMP SEND)."""
        echo: asyncio.Future[tuple[float, str | None]] = asyncio.get_running_loop().create_future()

        def came_back(frame: Frame) -> None:
            if not echo.done():
                echo.set_result((time.time() * 1_000, frame.get("timestamp")))

        def refused(_: str, error: Exception | None) -> None:
            if error is not None and not echo.done():
                echo.set_exception(error)

        def subscribed(subscription: Subscription, error: Exception | None) -> None:
            subscription.error = error if isinstance(error, ServerError) else None
            refused("", error)

        name = f"clock{next(self._ids)}"
        self._subscriptions[name] = subscription = Subscription(name, lambda p: p.replies("clock"), came_back)
        try:
            async with asyncio.timeout(ECHO_TIMEOUT):
                self._send_subscribe(self._live(), subscription, subscribed)
                sent = time.time() * 1_000
                receipt = f"{name}-echo"
                headers = [("destination", self.profile.reply_to("clock")), ("receipt", receipt)]
                self.publish(encode_frame("SEND", headers), receipt, refused)
                received, stamp = await echo
            if stamp is not None and stamp.isdigit():
                self.clock.measure(sent, received, int(stamp))
        except (TimeoutError, ServerError) as error:
            log.warning("could not measure the broker's clock (%s); taking ours for its", error or "no echo")
        finally:
            self.unsubscribe(subscription)

    async def _subscribe_all(self, connection: Channel) -> None:
        self._renewed = self.generation  # from here on subscribe() asks for itself
        waiting = set(self._subscriptions.values())
        done = asyncio.Event()
        if not waiting:
            return
        failed: list[Exception] = []

        def answered(subscription: Subscription, error: Exception | None) -> None:
            self._subscribed(subscription, error)
            if error is not None and not isinstance(error, ServerError):
                failed.append(error)
            waiting.discard(subscription)
            if not waiting:
                done.set()

        for subscription in tuple(waiting):
            self._send_subscribe(connection, subscription, answered)
        try:
            async with asyncio.timeout(SUBSCRIBE_TIMEOUT):
                await done.wait()
        except TimeoutError:
            raise ConnectFailedError(f"subscriptions were not confirmed within {SUBSCRIBE_TIMEOUT:g} s") from None
        if failed:
            raise failed[0]

    def _send_subscribe(
        self,
        connection: Channel,
        subscription: Subscription,
        answered: Callable[[Subscription, Exception | None], None],
    ) -> None:
        receipt = f"sub-{subscription.id}-{self.generation}"
        headers = {"id": subscription.id, **subscription.headers(self.profile), "receipt": receipt}
        connection.write(encode_frame("SUBSCRIBE", headers.items()))
        subscription.sent = self.generation
        self._receipts[receipt] = lambda _, error: answered(subscription, error)

    def _subscribed(self, subscription: Subscription, error: Exception | None) -> None:
        subscription.error = error if isinstance(error, ServerError) else None
        if subscription.error is not None:
            destination = subscription.headers(self.profile).get("destination")
            log.error("the broker refused the subscription to %s: %s", destination, subscription.error.message)
        if subscription.on_answer is not None and (error is None or subscription.error is not None):
            subscription.on_answer(subscription.error)

    def _live(self) -> Channel:
        if self._connection is None:
            raise ConnectionLostError(str(self.last_error or "the connection was lost again"))
        return self._connection

    # -- frames

    def _on_frame(self, frame: Frame) -> None:
        if frame.command == "MESSAGE":
            subscription = self._subscriptions.get(frame.get("subscription") or "")
            if subscription is not None:
                subscription.on_message(frame)
        elif frame.command == "RECEIPT":
            receipt = frame.get("receipt-id") or ""
            on_receipt = self._receipts.pop(receipt, None)
            if on_receipt is not None:
                on_receipt(receipt, None)
        elif frame.command == "ERROR":
            self._on_error(frame)

    def _on_error(self, frame: Frame) -> None:
        receipt = frame.get("receipt-id")
        error = ServerError(frame.get("message") or "no reason given", receipt)
        on_receipt = self._receipts.pop(receipt, None) if receipt else None
        if on_receipt is not None and receipt is not None:
            on_receipt(receipt, error)
        else:
            log.info("%s", error)  # of what asked for no receipt, and so does not care
            self.last_error = error


def _call(callback: Callable[..., None], *arguments: object) -> None:
    """Tell somebody; what he raises must keep neither the others nor us from going on."""
    try:
        callback(*arguments)
    except Exception:
        log.exception("a listener of the broker connection failed")


def _settle(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


__all__ = ["Backoff", "Client", "Clock", "Credentials", "Server", "Subscription"]
