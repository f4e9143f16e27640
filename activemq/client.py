"""Keeps a connection to one of several brokers up.

Each connection has a generation, a number that rises by one: whatever came over one connection (a message to be
acknowledged, a receipt waited for) is void on the next.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Final, Self

from activemq.clock import Clock
from activemq.connection import Connection
from activemq.echo import Echo
from activemq.errors import (
    ActiveMQError,
    ConnectionLostError,
    NotConnectedError,
    ReceiptTimeoutError,
    ServerError,
)
from activemq.frames import Limits, reason_of
from activemq.frames import encode as encode_frame
from activemq.move import move
from activemq.protocol import Credentials, Stomp
from activemq.servers import Backoff, Server
from activemq.subscriptions import Subscription, Subscriptions
from activemq.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activemq.brokers import Profile
    from activemq.connection import Channel
    from activemq.frames import Frame
    from activemq.move import Encode
    from activemq.subscriptions import OnAnswer, OnMessage, OnReceipt

log = logging.getLogger(__name__)

ECHO_TIMEOUT: Final = 2.0  # seconds
LAST_WORD: Final = 1.0  # seconds between an ERROR and the end of the connection that it explains


class Client:
    """A connection that is kept up, and what is done over it.

    ``servers`` are tried in their order, again and again; ``kind`` names a profile or is ``auto``; without ``declare``
    queues are used that others have declared, where queues are declared. Messages and receipts are handed over by plain
    calls on the loop: what they call must not block.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        credentials: Credentials | None = None,
        *,
        kind: str = "auto",
        declare: bool = True,
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
        self._credentials = credentials or Credentials()
        self._declare = declare
        self._heartbeat = heartbeat
        self._limits = limits or Limits()
        self._connect_timeout = connect_timeout
        self._connection: Channel | None = None  # set while frames may be sent
        self._profile: Profile | None = None
        self._tells_text = True  # the profile's
        self._hands_back = False  # the profile keeps what is unacknowledged
        self._connected = asyncio.Event()
        self._receipts: dict[str, OnReceipt] = {}
        self._subscriptions = Subscriptions(self._receipts)
        self._complaint: tuple[float, str] = (0.0, "")  # the last ERROR that answered nothing, and when
        self._renewed = 0  # the generation whose connection has been sent all subscriptions
        self._ids = count(1)
        # Not to be guessed: Classic hands on a JMS text with a NUL as it is, and behind the NUL may stand what looks
        # like a frame for one of our subscriptions.
        self._token = secrets.token_hex(4)
        self._listeners: list[tuple[Callable[[], None], Callable[[Exception], None]]] = []
        self._supervisor = Supervisor(
            servers,
            kind,
            backoff or Backoff(),
            dial=self._dial,
            make_ready=self._make_ready,
            on_ready=self._on_ready,
            on_failed=self._on_failed,
        )
        self._supervising: asyncio.Task[None] | None = None

    # -- life

    async def start(self) -> None:
        """Begin to connect, and return; see :meth:`wait_connected`."""
        if self._supervising is None:
            self._supervising = asyncio.create_task(self._supervisor.run(), name="broker connection")

    async def stop(self) -> None:
        """Say DISCONNECT and stay away. Whatever still waits gets :class:`ConnectionLostError`."""
        supervising, self._supervising = self._supervising, None
        try:
            if supervising is not None:
                supervising.cancel()
                await asyncio.wait([supervising])  # not `await supervising`: whose cancellation was it then?
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
        """End a subscription; what was not acknowledged goes to others, and messages on their way are dropped.

        Raises :class:`BufferFullError`, with nothing changed.
        """
        if self._connection is not None and self._subscriptions.is_live(subscription):
            with suppress(NotConnectedError):  # it is closing, and the subscription ends with it
                self._subscriptions.unsubscribe(self._connection, subscription)
        self._subscriptions.forget(subscription)

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
        self._subscriptions.acknowledged(frame)
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

    async def move(self, frame: Frame, generation: int, encode: Encode, what: str) -> None:
        """Put another message in the place of one; see :func:`activemq.move.move`."""
        await move(self, frame, generation, encode, what)

    def renew(self, subscription: Subscription) -> None:
        """End a subscription and begin it again: the broker hands what it had not acknowledged to others.

        Raises :class:`BufferFullError`; call it again then.
        """
        self.unsubscribe(subscription)
        self._begin(subscription)

    def cut(self) -> None:
        """End the connection to the broker now, from any thread: see :meth:`Connection.cut`."""
        connection = self._connection
        if isinstance(connection, Connection):
            connection.cut()

    def _begin(self, subscription: Subscription) -> None:
        if self._connection is not None and self._renewed == self.generation:
            with suppress(NotConnectedError):  # it is closing; the next one will be asked
                self._subscriptions.ask(self._connection, subscription)
        self._subscriptions[subscription.id] = subscription

    # -- what the supervisor calls

    async def _dial(self, server: Server, versions: str) -> Channel:
        return await Connection.open(
            server.host,
            server.port,
            Stomp(self._credentials, self._heartbeat, self._limits, versions),
            self._on_frame,
            self._on_lost,
            tls=server.tls,
            timeout=self._connect_timeout,
        )

    async def _make_ready(self, connection: Channel, profile: Profile) -> None:
        profile = profile if self._declare else profile.without_declaring()
        self._profile = profile.on_connection(secrets.token_hex(16))
        self._tells_text = profile.tells_text
        self._hands_back = profile.keeps_unacknowledged
        self._connection = connection
        self.generation += 1
        self._subscriptions.begin(self._profile, self.generation)
        try:
            await self._measure_clock()
            self._renewed = self.generation  # from here on subscribe() asks for itself
            await self._subscriptions.ask_all(connection)
            self._live()  # it may have been lost while the last receipts came
        except BaseException:
            self._connection = None
            raise

    def _on_ready(self) -> None:
        self.last_error = None
        self._connected.set()
        for on_connected, _ in self._listeners:
            _call(on_connected)

    def _on_failed(self, error: Exception) -> None:
        self.last_error = error

    def _on_lost(self, error: Exception) -> None:
        when, complaint = self._complaint
        if complaint and asyncio.get_running_loop().time() - when < LAST_WORD:
            error = ConnectionLostError(f"{error}; its last word was: {complaint}")
        self._complaint = (0.0, "")
        was_ready = self.connected
        self._connection = None
        self._connected.clear()
        self.last_error = error
        self._supervisor.lost()
        lost = ConnectionLostError(str(error))
        receipts = dict(self._receipts)
        self._receipts.clear()
        if was_ready:
            if self._supervising is not None:
                log.warning("lost the broker: %s", error)
            for _, on_lost in self._listeners:
                _call(on_lost, lost)
        for receipt, on_receipt in receipts.items():
            _call(on_receipt, receipt, lost)

    # -- making a connection ready

    async def _measure_clock(self) -> None:
        """Send ourselves a message and read off it when the broker got it."""
        echo = Echo()
        name, profile = f"clock{next(self._ids)}", self.profile

        def came_back(frame: Frame) -> None:
            echo.came_back(frame)
            if profile.echo("clock")["ack"] != "auto":
                self.ack(frame, self.generation)

        def subscribed(subscription: Subscription, error: Exception | None) -> None:
            subscription.error = error if isinstance(error, ServerError) else None
            echo.refused(error)

        self._subscriptions[name] = subscription = Subscription(name, lambda p: p.echo("clock"), came_back)
        try:
            self._subscriptions.ask(self._live(), subscription, subscribed)
            receipt = f"{name}-echo"
            headers = [("destination", profile.echo_to("clock")), ("receipt", receipt)]
            echo.sending()
            self.publish(encode_frame("SEND", headers), receipt, lambda _, error: echo.refused(error))
            await echo.measure(self.clock, profile.stamp, ECHO_TIMEOUT)
        except (TimeoutError, ServerError) as error:
            log.warning("could not measure the broker's clock (%s); taking ours for its", error or "no echo")
        finally:
            self.unsubscribe(subscription)

    def _live(self) -> Channel:
        if self._connection is None:
            raise ConnectionLostError(str(self.last_error or "the connection was lost again"))
        return self._connection

    # -- frames

    def _on_frame(self, frame: Frame) -> None:
        if self._hands_back and self._subscriptions.hand_back(frame, self._connection):
            return
        if frame.command == "MESSAGE":
            subscription = self._subscriptions.coming.get(frame.get("subscription") or "")
            if subscription is not None:
                frame.tells_text = self._tells_text
                subscription.on_message(frame)
        elif frame.command == "RECEIPT":
            receipt = frame.get("receipt-id") or ""
            on_receipt = self._receipts.pop(receipt, None)
            if on_receipt is not None:
                on_receipt(receipt, None)
        elif frame.command == "ERROR":
            self._on_error(frame)

    def _on_error(self, frame: Frame) -> None:
        receipt = frame.get("receipt-id") or self._subscriptions.receipt_of_refused()
        error = ServerError(reason_of(frame), receipt)
        on_receipt = self._receipts.pop(receipt, None) if receipt else None
        if on_receipt is not None and receipt is not None:
            on_receipt(receipt, error)
        else:
            log.info("%s", error)  # of what asked for no receipt, and so does not care
            self.last_error = error
            self._complaint = (asyncio.get_running_loop().time(), error.message)


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
