"""Opens connections: to which broker, how soon, in which version of STOMP; and says in the log what of it is news."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from activemq.brokers import profile_for
from activemq.errors import ActiveMQError, ConnectFailedError, ConnectionLostError
from activemq.protocol import VERSIONS
from activemq.search import Search

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from activemq.brokers import Profile
    from activemq.connection import Channel
    from activemq.servers import Backoff, Server

log = logging.getLogger(__name__)

STABLE_AFTER: Final = 1.0  # seconds; a connection that dies sooner counts as a failed attempt
# Seconds in which a broker has to answer before the next one is asked as well. A host that is gone, or a broker that
# hangs, says nothing at all until the attempt times out, and must not hold up the one that stands in for it.
HEAD_START: Final = 1.0


class Supervisor:
    """Has one connection opened after the other, for as long as :meth:`run` runs.

    ``kind`` names a profile or is ``auto``. ``dial`` gets a server and the versions of STOMP to offer, and opens a
    connection or raises :class:`ConnectFailedError`. ``make_ready`` gets it and its broker's profile, and raises if it
    cannot be used; ``on_ready`` is called after it; ``on_failed`` is told why a broker could not be used.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        kind: str,
        backoff: Backoff,
        *,
        dial: Callable[[Server, str], Awaitable[Channel]],
        make_ready: Callable[[Channel, Profile], Awaitable[None]],
        on_ready: Callable[[], None],
        on_failed: Callable[[Exception], None],
    ) -> None:
        self._servers = tuple(servers)
        self._kind = kind
        self._backoff = backoff
        self._dial = dial
        self._make_ready = make_ready
        self._on_ready = on_ready
        self._on_failed = on_failed
        self._ended = asyncio.Event()  # of the present connection
        self._versions: dict[Server, str] = {}  # what to offer, where it is known
        self._complaints: dict[Server, str] = {}  # what was logged already
        self._search: Search[tuple[Channel, Profile]] = Search(self._open, self._failed, _not_wanted)

    def lost(self) -> None:
        """Say that the present connection is lost."""
        self._ended.set()

    async def run(self) -> None:
        """Keep a connection open until cancelled."""
        failures = 0
        try:
            while True:
                lived = await self._once(failures)
                failures = 0 if lived > STABLE_AFTER else failures + 1
        finally:
            await self._search.end()

    async def _once(self, failures: int) -> float:
        """Pause if it has failed before, ask all, and stay with the first that can be used.

        Return for how many seconds that was; 0.0 if there was none. The time that failing takes does not count.
        """
        if failures and await self._use(await self._search.answer(self._backoff.delay(failures))):
            return await self._lived()
        for server in self._servers:
            self._search.begin(server)
            if await self._use(await self._search.answer(HEAD_START, server)):
                return await self._lived()
        return 0.0

    async def _lived(self) -> float:
        loop = asyncio.get_running_loop()
        ready = loop.time()
        await self._ended.wait()
        return loop.time() - ready

    async def _use(self, found: tuple[Server, tuple[Channel, Profile]] | None) -> bool:
        """Make a connection ready; False, with the reason logged, if there is none or that fails."""
        if found is None:
            return False
        server, (connection, profile) = found
        try:
            await self._search.end()  # there is one connection at a time, also while it is being made ready
            self._ended.clear()
            await self._make_ready(connection, profile)
        except Exception as error:
            if not isinstance(error, ActiveMQError):  # a bug in a subscription's headers() must not end all attempts
                log.exception("could not make the connection ready")
            connection.abort(error)
            await connection.closed
            self._failed(server, error)
            return False
        except asyncio.CancelledError:
            connection.abort(ConnectionLostError("closed by us"))
            raise
        self._complaints.clear()
        log.info("connected to %s (%s)", server, connection.server)
        self._on_ready()
        return True

    async def _open(self, server: Server) -> tuple[Channel, Profile]:
        """Connect in a version of STOMP that the broker's profile wants; by its name in CONNECTED, so it may take two.

        Raises :class:`ConnectFailedError`.
        """
        usual = VERSIONS if self._kind == "auto" else profile_for(self._kind, "").versions
        for _ in range(2):
            connection = await self._dial(server, self._versions.get(server, usual))
            try:
                profile = profile_for(self._kind, connection.server)
            except ConnectFailedError as error:
                connection.give_up(error)
                raise
            if connection.version in profile.versions.split(","):
                return connection, profile
            self._versions[server] = profile.versions
            connection.give_up(ConnectFailedError("to be opened again in another version of STOMP"))
            await connection.closed
        raise ConnectFailedError(f"{server} speaks STOMP {connection.version}, and was asked for {profile.versions}")

    def _failed(self, server: Server, error: Exception) -> None:
        # Once for each new reason: a broker that is down for an hour is one line, not five thousand.
        if self._complaints.get(server) != str(error):
            self._complaints[server] = str(error)
            log.warning("cannot use a broker: %s; trying again", error)
        self._versions.pop(server, None)  # another kind of broker may come up there
        self._on_failed(error)


def _not_wanted(opened: tuple[Channel, Profile]) -> None:
    opened[0].give_up(ConnectFailedError("another broker answered first"))
