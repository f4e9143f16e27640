"""``FakeBroker``: enough of ActiveMQ Classic, in this process, to test clients, bridges and workers against."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Self

from activemq.testing.session import Received, Session, Shared
from activemq.testing.translate import destination_of

if TYPE_CHECKING:
    import ssl

    from activemq.testing.store import Message, Queue

_HOST: Final = "127.0.0.1"


class FakeBroker:
    """A broker in memory that speaks STOMP 1.2 and 1.1 on a port of loopback, for tests.

    ::

        async with FakeBroker() as broker:
            client = Client([Server.parse(broker.url)])

    It does what Classic 6.3.1 does with queues (by priority, then in order), topics, temporary queues, prefetch,
    acknowledgement, redelivery, receipts, expiry, transactions and refusals. It tells who listens, to subscribers of
    the topic ``ActiveMQ.Advisory.Consumer.>``. It has no other wildcards, no selectors (what one would leave out comes
    too), durable topics or virtual hosts, and every login may do everything but what :meth:`refuse` forbids.

    :param login: who may connect; None: everybody
    :param passcode: the login's passcode
    :param server: what it calls itself in CONNECTED
    :param heartbeat: the interval in seconds that it offers both ways; 0: no heart-beats. It closes a connection that
        is silent for twice what was agreed
    :param clock_offset: how far its clock is ahead of this machine's, in seconds
    :param tls: a server's context; None: plain TCP
    """

    def __init__(
        self,
        login: str | None = None,
        passcode: str | None = None,
        server: str = "ActiveMQ/6.3.1",
        *,
        heartbeat: float = 0.0,
        clock_offset: float = 0.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._shared = Shared(login, passcode, server, round(heartbeat * 1_000), clock_offset)
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._port = 0

    # -- life

    async def start(self) -> None:
        """Listen; after :meth:`stop` on the same port as before."""
        if self._server is None:
            self._shared.running = True
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: Session(self._shared), _HOST, self._port, ssl=self._tls)
            self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Go down as if killed: connections are reset, and only persistent messages are there at the next start."""
        server, self._server = self._server, None
        self._shared.running = False
        if server is not None:
            server.close()
            await self.drop_connections()
            await server.wait_closed()
            self._shared.store.restart()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def host(self) -> str:
        """Where it listens."""
        return _HOST

    @property
    def port(self) -> int:
        """The port; 0 before the first start."""
        return self._port

    @property
    def url(self) -> str:
        """``stomp://127.0.0.1:PORT``, or ``stomp+ssl://…``."""
        return f"stomp{'+ssl' if self._tls else ''}://{_HOST}:{self._port}"

    # -- what one may look at

    @property
    def connections(self) -> int:
        """How many clients are connected and logged in."""
        return sum(session.connected for session in self._shared.sessions)

    @property
    def received(self) -> list[Received]:
        """All frames that clients sent, in order; yours to clear."""
        return self._shared.received

    def messages(self, queue: str) -> list[Message]:
        """Return what waits in a queue (``orders`` or ``/queue/orders``) and nobody was given, the next one first."""
        return list(self._queue(queue).waiting)

    def unacknowledged(self, queue: str) -> list[Message]:
        """Return what consumers of a queue were given and have not acknowledged."""
        return [message for consumer in self._queue(queue).consumers for message in consumer.unacked]

    # -- what one may do to it

    async def drop_connections(self) -> None:
        """Reset all connections; returns when all are gone."""
        await asyncio.sleep(0)  # one that was just accepted becomes a session now
        while sessions := list(self._shared.sessions):
            for session in sessions:
                session.reset()
            await asyncio.wait([session.closed for session in sessions])

    def refuse(self, destination: str, message: str) -> None:
        """Answer every SEND and SUBSCRIBE to a destination, named as the client does, with an ERROR."""
        self._shared.refusals[destination] = message

    def allow(self, destination: str) -> None:
        """Take a :meth:`refuse` back."""
        self._shared.refusals.pop(destination, None)

    def pause(self) -> None:
        """Hang: connections are accepted, and nothing is read, answered or delivered."""
        self._shared.paused = True
        for session in self._shared.sessions:
            session.pause(True)

    def resume(self) -> None:
        """Go on after :meth:`pause`, with what has come since."""
        self._shared.paused = False
        for session in self._shared.sessions:
            session.pause(False)

    async def inject(self, data: bytes, connection: int | None = None) -> None:
        """Send bytes as they are over the newest connection, or the one of that number (see :class:`Received`).

        Raises :class:`LookupError` if it is not there.
        """
        for session in reversed(self._shared.sessions):
            if connection in (None, session.number):
                session.write(data)
                await asyncio.sleep(0)
                return
        raise LookupError(f"no connection {connection or ''}".strip())

    def _queue(self, name: str) -> Queue:
        return self._shared.store.queue(destination_of(name))

    def __repr__(self) -> str:
        state = "paused" if self._shared.paused else "up" if self._server else "down"
        return f"<FakeBroker {self.url} {state}, {self.connections} connections>"
