"""The bridge as one ASGI application. It wires; nothing else."""

from __future__ import annotations

import asyncio
import ssl
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from activemq import Client, Credentials, Frame, Limits, Server
from bridge.access import Access
from bridge.admin import AdminKey
from bridge.admission import Admission
from bridge.cors import with_cors
from bridge.deadletters.office import DeadLetters
from bridge.endpoints.call import CallEndpoint, Rules
from bridge.endpoints.dead_letters import dead_letter_routes
from bridge.endpoints.gate import Gate
from bridge.endpoints.insight import insight_routes
from bridge.endpoints.job_answers import PREFIX as JOBS
from bridge.endpoints.job_list import job_list_routes
from bridge.endpoints.jobs import JobsEndpoint
from bridge.endpoints.metrics import metrics_route, route_now
from bridge.endpoints.operations import operation_routes
from bridge.endpoints.pages import PREFIXES as PAGES
from bridge.endpoints.pages import make_pages
from bridge.endpoints.published import PATHS, Published, published_routes
from bridge.endpoints.status import status_of
from bridge.exchange import Exchange
from bridge.figures.book import Book
from bridge.figures.exposition import Exposition
from bridge.figures.history import History
from bridge.figures.snapshot import Snapshot
from bridge.jobs.none import NoJobs
from bridge.jobs.service import JobService
from bridge.jobs.sql import SqlStore
from bridge.link import Link
from bridge.listening import Place
from bridge.lookout import BEACON, Lookout
from bridge.presence import Presence
from bridge.problems import retry_later
from bridge.reload import Reloader
from bridge.routing import Router, ServedRoute
from bridge.wheel import Wheel
from bridge.withdrawal import Withdrawals

PREFIXES = (*PAGES, JOBS)

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.asgi import Receive, Scope, Send
    from bridge.settings import Broker, Settings


class Bridge:
    """Serves the routes of ``settings``. Any ASGI server that runs the lifespan can run it."""

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings] | None = None,
        place: Place | None = None,
        connect: Callable[[Broker], Client] | None = None,
    ) -> None:
        """``load`` reads the settings anew, for :attr:`reloader`; it is called in a thread.

        ``place``: among several processes. ``connect`` makes clients of what stands in for a broker; there are no jobs
        then, and no store, so that no route may ask for either.
        """
        self._connect = connect
        self.settings = settings
        self.place = place or Place()
        self.published = Published(settings)
        self.reloader = None if load is None else Reloader(load, lambda: self.settings, self.renew)
        self.wheel = Wheel()
        self.exchange: Exchange[Frame] = Exchange(self.wheel)
        self.presence = Presence((route.queue for route in settings.routes), BEACON)
        self.router = Router(ServedRoute(route, self.presence[route.queue]) for route in settings.routes)
        self.admission = Admission(settings.server.max_held, settings.server.max_body_memory, self.presence.rate)
        self._client: Client | None = None
        self._side: Client | None = None  # for what is not part of a held call's way
        self._lookout: Lookout | None = None
        self._call: CallEndpoint | None = None
        self._jobs: JobService | None = None
        self._job_pages: JobsEndpoint | None = None
        self._dead_letters: DeadLetters | None = None
        self.access = Access(settings)
        self.book = Book(settings.log.access)
        self.history = History(lambda: self.router.routes)
        gate = Gate(AdminKey(settings.admin.key_sha256), self.access)
        others = [
            *published_routes(lambda: self.published, gate),
            *operation_routes(lambda: self.reloader, self.place.tell_others, gate),
            *dead_letter_routes(self._letters, gate, settings.server.public_url),
            *job_list_routes(lambda: self._jobs, gate),
            *insight_routes(self.history, self.book.ledger, lambda: asyncio.get_running_loop().time(), gate),
            metrics_route(Exposition(self._look, version("activemq-rest-bridge")), gate),
        ]
        self._pages = make_pages(
            self.exchange.new_id, lambda: self.ready, self._status, gate, settings.server.public_url, others
        )

        self._http = with_cors(self._serve, settings)

    @property
    def ready(self) -> bool:
        """Whether a call could be served now."""
        if self._client is None or self._jobs is None:
            return False
        return self._client.connected and self._jobs.ready and not self.admission.draining

    @property
    def client(self) -> Client:
        """The connection to the broker, once started."""
        if self._client is None:
            raise RuntimeError("the bridge has not been started")
        return self._client

    @property
    def jobs(self) -> JobService:
        """The jobs, once started."""
        if self._jobs is None:
            raise RuntimeError("the bridge has not been started")
        return self._jobs

    async def start(self) -> None:
        """Begin to connect to the broker and to the store, and return: calls get a 503 until they are there.

        Raises :class:`StoreRefusedError` for a store that cannot be used at all; see also :attr:`JobService.settled`.
        """
        if self._client is not None:
            return
        settings = self.settings
        store = None if self._connect else SqlStore(settings.store.url.get_secret_value())
        connect = self._connect or make_client
        self._client = client = connect(settings.broker)
        self._side = side = connect(settings.broker)
        withdrawals = Withdrawals(side)
        link = Link(client, self.exchange, withdrawals)
        self._lookout = lookout = Lookout(client, side, self.presence, self.exchange.new_id())
        rules = Rules(
            body_timeout=settings.server.body_timeout,
            publish_timeout=settings.broker.publish_timeout,
            public_url=settings.server.public_url,
            retention_ms=round(settings.store.retention * 1_000),
        )
        timeout = settings.broker.publish_timeout
        jobs = JobService(store, side, self.wheel, timeout, withdrawals.withdraw) if store else NoJobs(side, self.wheel)
        self._jobs = jobs
        self._call = CallEndpoint(
            rules, self.access, self.book, self.router, self.exchange, self.admission, link, lookout, jobs
        )
        self._job_pages = JobsEndpoint(rules, self.access, jobs, self.admission)
        self._dead_letters = DeadLetters(
            lambda max_body: make_client(settings.broker, max_body),
            lambda: self.router.routes,
            jobs,
            self.exchange.new_id,
            rules.publish_timeout,
            rules.retention_ms,
        )
        self.wheel.start()
        self.history.start()
        lookout.start()
        await client.start()
        await side.start()
        jobs.start()

    def renew(self, settings: Settings) -> None:
        """Serve other routes and callers from now on; a held call goes on under the rules that it began with.

        All else in ``settings`` must be as it was. See :func:`bridge.reload.merge`.
        """
        queues = [route.queue for route in settings.routes]
        if self._lookout is None:
            self.presence.renew(queues)
        else:
            self._lookout.renew(queues)
        self.settings = settings
        self.access.renew(settings)
        self.router = self.router.renewed(settings.routes, self.presence.queues)
        self.published = Published(settings)
        if self._call is not None:
            self._call.router = self.router

    async def stop(self) -> None:
        """Leave the broker. Whatever is still held gets ``broker-lost``; see :meth:`Admission.drain`."""
        client, self._client = self._client, None
        if client is not None and self._side is not None and self._lookout is not None:
            await self.jobs.stop()
            self._lookout.stop()
            self.history.stop()
            await client.stop()
            await self._side.stop()
            if self._call is not None:
                self._call.bodies.stop()
            self.wheel.stop()

    def _letters(self) -> DeadLetters:
        if self._dead_letters is None or self.admission.draining:
            raise retry_later("draining", "this bridge does not serve now")
        return self._dead_letters

    def _status(self) -> dict[str, Any]:
        return status_of(
            now=asyncio.get_running_loop().time(),
            place=self.place,
            connected=self._client is not None and self._client.connected,
            told=self.presence.known,
            admission=self.admission,
            router=self.router,
        )

    def _look(self) -> Snapshot:
        client, jobs = self._client, self._jobs
        now = 0.0 if client is None else asyncio.get_running_loop().time()
        return Snapshot(
            ready=self.ready,
            draining=self.admission.draining,
            connected=client is not None and client.connected,
            connections=0 if client is None else client.generation,
            store_up=jobs is not None and jobs.ready,
            held=self.admission.held,
            body_memory=self.admission.memory,
            stray_replies=self.exchange.counts.stray_replies,
            routes=[route_now(route, now) for route in self.router.routes],
            unrouted=self.book.unrouted,
            queues=list(self.presence.queues.values()),
            callers=self.access.held(),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if self._call is None or path.startswith(PREFIXES) or path in PATHS:
            pages = self._job_pages if path.startswith(JOBS) else None
            await (pages or self._pages)(scope, receive, send)
        else:
            await self._call(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


def make_client(broker: Broker, max_body: int | None = None) -> Client:
    """Return the client that the settings ask for, not started; ``max_body`` in bytes, the largest frame if None."""
    context: ssl.SSLContext | None = None
    if any(url.tls for url in broker.urls):
        context = ssl.create_default_context(cafile=str(broker.tls_ca) if broker.tls_ca else None)
    passcode = broker.passcode.get_secret_value()
    return Client(
        [Server(url.host, url.port, context if url.tls else None) for url in broker.urls],
        Credentials(broker.login or None, passcode or None),
        kind=broker.kind,
        heartbeat=broker.heartbeat,
        limits=Limits(max_body=broker.max_frame if max_body is None else max_body),
    )
