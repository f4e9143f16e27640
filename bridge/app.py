"""The bridge as one ASGI application. It wires; nothing else."""

from __future__ import annotations

import asyncio
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from activemq import Client, Credentials, Frame, Limits, Server
from activemq.servers import tls_context
from bridge.access import Access
from bridge.admin import AdminKey
from bridge.admission import Admission
from bridge.cors import with_cors
from bridge.dashboard.feed import feed_of
from bridge.deadletters.office import DeadLetters
from bridge.endpoints.call import CallEndpoint, Rules
from bridge.endpoints.dashboard import Dashboard
from bridge.endpoints.dead_letters import dead_letter_routes
from bridge.endpoints.gate import Gate
from bridge.endpoints.insight import insight_routes
from bridge.endpoints.job_answers import PREFIX as JOBS
from bridge.endpoints.job_list import JobList
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
from bridge.figures.siblings import Siblings
from bridge.figures.snapshot import Snapshot
from bridge.jobs.none import NoJobs
from bridge.jobs.service import JobService
from bridge.jobs.store import StoreRefusedError
from bridge.link import Link
from bridge.listening import Place
from bridge.lookout import BEACON, Lookout
from bridge.presence import Presence
from bridge.problems import retry_later
from bridge.reload import Reloader
from bridge.routing import Router, ServedRoute
from bridge.sessions import Sessions
from bridge.settings import Fault, SettingsError
from bridge.wheel import Wheel
from bridge.withdrawal import Withdrawals

PREFIXES = (*PAGES, JOBS)

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.asgi import Receive, Scope, Send
    from bridge.settings import Broker, Settings
    from bridge.tracing import Tracing


class Bridge:
    """Serves the routes of ``settings``. Any ASGI server that runs the lifespan can run it."""

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings] | None = None,
        place: Place | None = None,
        connect: Callable[[Broker], Client] | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """``load`` reads the settings anew, for :attr:`reloader`; it is called in a thread.

        ``place``: among several processes. ``connect`` makes clients of what stands in for a broker; there are no jobs
        then, and no store, so that no route may ask for either. ``tracing`` makes spans of calls; None: none.
        """
        self._connect = connect
        self._tracing = tracing
        self.settings = settings
        self.place = place or Place()
        self.published = Published(settings)
        self.reloader = None if load is None else Reloader(_loading(load), lambda: self.settings, self.renew)
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
        self._open_store: Callable[[], None] | None = None  # where there can be one
        self._dead_letters: DeadLetters | None = None
        self.access = Access(settings)
        self.book = Book(settings.log.access)
        self.history = History(lambda: self.router.routes)
        exposition = Exposition(self._look, version("activemq-rest-bridge"))
        self._siblings = _siblings(self.place, exposition)
        sessions = Sessions(self.place.secret)
        gate = Gate(AdminKey(settings.admin.key_sha256), self.access, sessions)
        others = [
            *published_routes(lambda: self.published, gate),
            *operation_routes(lambda: self.reloader, self.place.tell_others, gate),
            *insight_routes(self.history, self.book.ledger, lambda: asyncio.get_running_loop().time(), gate),
            *Dashboard(self._feed, lambda: self.admission.draining, gate).routes(),
            metrics_route(exposition, self._siblings, gate),
        ]
        if connect is None:  # else there are neither
            others += dead_letter_routes(self._letters, gate, settings.server.public_url)
            others += JobList(lambda: self._jobs, gate).routes()
        self._pages = make_pages(
            self.exchange.new_id, lambda: self.ready, self._status, gate, settings.server.public_url, others
        )

        self._http = with_cors(self._serve, settings)

    @property
    def ready(self) -> bool:
        """Whether a call could be served now."""
        if self._client is None or not self._client.connected or self.admission.draining:
            return False
        return self._jobs is not None and self._jobs.ready

    @property
    def client(self) -> Client:
        """The connection to the broker, once started."""
        if self._client is None:
            raise RuntimeError("the bridge has not been started")
        return self._client

    @property
    def jobs(self) -> JobService:
        """The jobs, once started. As long as no route can have any they are :class:`NoJobs`, and no store is opened."""
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
        connect = self._connect or make_client
        client, side = connect(settings.broker), connect(settings.broker)
        withdrawals = Withdrawals(side)
        link = Link(client, self.exchange, withdrawals)
        lookout = Lookout(client, side, self.presence, self.exchange.new_id())
        rules = Rules(
            body_timeout=settings.server.body_timeout,
            publish_timeout=settings.broker.publish_timeout,
            public_url=settings.server.public_url,
            retention_ms=round(settings.store.retention * 1_000),
        )
        self._jobs = jobs = NoJobs(side, self.wheel)
        self._call = CallEndpoint(
            rules,
            self.access,
            self.book,
            self.router,
            self.exchange,
            self.admission,
            link,
            lookout,
            jobs,
            self._tracing,
        )
        self._job_pages = JobsEndpoint(rules, self.access, jobs, self.admission)
        if self._connect is None:
            self._open_store = partial(self._with_store, side, withdrawals.withdraw)
            if _needs_store(settings):
                self._open_store()
        self._client, self._side, self._lookout = client, side, lookout
        self._dead_letters = DeadLetters(
            lambda max_body: make_client(settings.broker, max_body),
            lambda: self.router.routes,
            self._jobs_to_make,
            self.exchange.new_id,
            rules.publish_timeout,
            rules.retention_ms,
        )
        self.wheel.start()
        self.history.start()
        lookout.start()
        await client.start()
        await side.start()
        self.jobs.start()
        if self._siblings is not None:
            await self._siblings.start()

    def _with_store(self, side: Client, withdraw: Callable[[str], None]) -> None:
        """Have jobs from now on. They are to be started. Raises :class:`StoreRefusedError` for a useless URL."""
        from bridge.jobs.sql import SqlStore  # noqa: PLC0415 - 15 MiB and more that a bridge without jobs does not need

        settings = self.settings
        store = SqlStore(settings.store.url.get_secret_value())
        self._jobs = jobs = JobService(store, side, self.wheel, settings.broker.publish_timeout, withdraw)
        if self._call is not None and self._job_pages is not None:
            self._call.jobs = self._job_pages.jobs = jobs

    def _begin_jobs(self) -> None:
        """Open a store, unless there is one or can be none. Raises :class:`StoreRefusedError` as above."""
        if self._open_store is not None and isinstance(self._jobs, NoJobs):
            self._open_store()
            self.jobs.start()

    async def _jobs_to_make(self) -> JobService:
        """Return the jobs for whoever makes one although no route may. Raises :class:`Problem`."""
        if isinstance(self._jobs, NoJobs):
            await asyncio.to_thread(_import_store)
            try:
                self._begin_jobs()
                await asyncio.shield(self.jobs.settled)
            except StoreRefusedError:
                raise retry_later("store-unavailable", "there can be no store for jobs; the log says why") from None
        return self.jobs

    def renew(self, settings: Settings) -> None:
        """Serve other routes and callers from now on; a held call goes on under the rules that it began with.

        All else in ``settings`` must be as it was. See :func:`bridge.reload.merge`. Raises :class:`SettingsError`, with
        nothing changed, if they are the first with jobs and there can be no store for them.
        """
        if _needs_store(settings):
            try:
                self._begin_jobs()
            except StoreRefusedError as error:
                raise SettingsError((Fault("store.url", None, str(error)),), "the running bridge") from error
        queues = [route.queue for route in settings.routes]
        if self._lookout is None:
            self.presence.renew(queues)
        else:
            self._lookout.renew(queues)
        self.settings = settings
        self.access.renew(settings)
        self._http = with_cors(self._serve, settings)  # what routes let pass, pages may send and see
        self.router = self.router.renewed(settings.routes, self.presence.queues)
        self.published = Published(settings)
        if self._call is not None:
            self._call.router = self.router

    async def stop(self) -> None:
        """Leave the broker. Whatever is still held gets ``broker-lost``; see :meth:`Admission.drain`."""
        client, self._client = self._client, None
        if client is not None and self._side is not None and self._lookout is not None:
            if self._siblings is not None:
                await self._siblings.stop()
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

    def _feed(self) -> dict[str, Any]:
        return feed_of(self._look(), self.history.steps())

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
            max_held=self.settings.server.max_held,
            body_memory=self.admission.memory,
            max_body_memory=self.settings.server.max_body_memory,
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


def _siblings(place: Place, exposition: Exposition) -> Siblings | None:
    return None if place.folder is None else Siblings(place.folder, place.number, place.of, exposition.packed)


def _needs_store(settings: Settings) -> bool:
    return any(route.may_be_job for route in settings.routes)


def _loading(load: Callable[[], Settings]) -> Callable[[], Settings]:
    """Return ``load`` with what new routes may need besides; it is called in a thread, where there is time for that."""

    def loading() -> Settings:
        settings = load()
        if _needs_store(settings):
            _import_store()
        return settings

    return loading


def _import_store() -> None:
    import_module("bridge.jobs.sql")


def make_client(broker: Broker, max_body: int | None = None) -> Client:
    """Return the client that the settings ask for, not started; ``max_body`` in bytes, the largest frame if None."""
    secure = any(url.tls for url in broker.urls)
    context = tls_context(broker.tls_ca, broker.tls_certificate, broker.tls_key) if secure else None
    passcode = broker.passcode.get_secret_value()
    return Client(
        [Server(url.host, url.port, context if url.tls else None) for url in broker.urls],
        Credentials(broker.login or None, passcode or None, broker.vhost, "broker.login and broker.passcode_file"),
        kind=broker.kind,
        declare=broker.declare,
        heartbeat=broker.heartbeat,
        limits=Limits(max_body=broker.max_frame if max_body is None else max_body),
    )
