"""`mqbridge work --http`: a worker that is served over HTTP without a bridge and without a broker."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from activemq.local import LocalBroker
from bridge.app import Bridge
from bridge.listening import BindError
from bridge.server import run
from bridge.settings import Route, Server, Settings, SettingsError, faults_together
from mqbridge.commands.serve import read_settings, with_admin_key
from mqbridge.console import CommandError, announce
from mqbridge.tracing import bridge_spans, tracer_provider, worker_spans

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from activemq import Client
    from bridge.settings import Broker, Caller, Jwt
    from consumers import Worker
    from consumers.tracing import Tracing

log = logging.getLogger(__name__)

OPTION: Final = "--http"


def serve_worker(worker: Worker, settings: Settings, concurrency: int) -> int:
    """Serve until a signal; return the exit code. ``settings``: from :func:`direct_settings`."""
    try:
        slots = worker.slots(concurrency)
    except ValueError as error:
        raise CommandError(f"--concurrency: {error}", 2) from error
    queues = ", ".join(f"{queue} × {number}" for queue, number in slots.items())
    stop = asyncio.Event()

    with tracer_provider(worker.name, settings.tracing) as provider:
        tracing = worker_spans(provider)

        @asynccontextmanager
        async def beside() -> AsyncIterator[Callable[[Broker], Client]]:
            broker = LocalBroker()
            async with _working(worker, broker.client(), concurrency, stop, tracing):
                yield lambda _: broker.client()

        try:
            cut = run(
                with_admin_key(settings),
                lambda addresses: announce(f"worker ready on {' '.join(addresses)} ({queues})"),
                drain_on=stop,
                beside=beside,
                make=partial(Bridge, tracing=bridge_spans(provider)),
            )
        except BindError as error:
            raise CommandError(str(error)) from error
    return 1 if cut else 0


@asynccontextmanager
async def _working(
    worker: Worker, client: Client, concurrency: int, stop: asyncio.Event, tracing: Tracing | None
) -> AsyncIterator[None]:
    """Have the worker's slots wait for messages; leaving drains them. ``stop`` is set if they end by themselves."""
    leave, ready = asyncio.Event(), asyncio.Event()
    working = asyncio.create_task(worker.run(client, concurrency, leave, ready.set, tracing), name="worker")
    working.add_done_callback(lambda _: stop.set())
    waiting = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not working.done():
            yield
    except BaseException:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
        raise
    leave.set()
    await working


def direct_settings(worker: Worker, http: str, config: Path | None, *, allow_anonymous: bool) -> Settings:
    """Return what the worker is served with: its routes of a bridge's file, or else one `POST /QUEUE` for each queue.

    Raises :class:`CommandError`.
    """
    found = Settings() if config is None else read_settings(config)
    routes = _default_routes(worker) if config is None else _routes_of(worker, found, config)
    try:
        server = Server.model_validate(
            {**{name: getattr(found.server, name) for name in Server.model_fields}, "bind": (_address(http),)}
        )
    except ValidationError as error:
        raise CommandError(f"{OPTION} {http!r}: must be HOST:PORT or :PORT, {error.errors()[0]['msg']}", 2) from error
    if allow_anonymous:
        server = server.model_copy(update={"allow_anonymous": True})
    held = tuple(route.model_copy(update={"async_": "never", "idempotency": "off"}) for route in routes)
    settings = found.model_copy(update={"server": server, "routes": held, **_who_may_call(found, held)})
    faults = faults_together(settings, OPTION if config is None else str(config))
    if faults:
        raise CommandError(f"the worker cannot be served\n{SettingsError(faults, OPTION)}", 2)
    return settings


def _who_may_call(settings: Settings, routes: Sequence[Route]) -> dict[str, object]:
    """Return the callers with those of their routes that are served here; one without any may call nothing."""
    names = {route.name for route in routes}

    def left(of: Caller | Jwt) -> dict[str, object]:
        return {"routes": tuple(name for name in of.routes if name in names)}

    callers = tuple(caller.model_copy(update=left(caller)) for caller in settings.callers)
    return {"callers": callers, "jwt": settings.jwt and settings.jwt.model_copy(update=left(settings.jwt))}


def _address(http: str) -> str:
    """Without a host it is this machine's own, as everywhere: to be reached by others has to be asked for."""
    return f"127.0.0.1{http}" if http.startswith(":") else http


def _default_routes(worker: Worker) -> list[Route]:
    try:
        return [Route(name=queue, path=f"/{queue}", queue=queue) for queue in worker.queues]
    except ValidationError as error:
        queue = next(iter(error.errors()))["input"]
        raise CommandError(
            f"{OPTION}: {queue!r} cannot be a route's name or path: give --config with its route", 2
        ) from error


def _routes_of(worker: Worker, settings: Settings, config: Path) -> list[Route]:
    """Return the file's routes to this worker's queues, without jobs. What asks for a job is refused."""
    routes = [route for route in settings.routes if route.queue in worker.queues]
    if not routes:
        raise CommandError(f"{config} has no route to {', '.join(worker.queues)}: these are the worker's queues", 2)
    for route in routes:
        if route.async_ == "always" or route.idempotency == "required":
            raise CommandError(
                f'{config}: route {route.name!r} needs jobs (async = "always" or idempotency = "required"), and those '
                "need a bridge with its store",
                2,
            )
    left = {queue for queue in worker.queues if queue not in {route.queue for route in routes}}
    if left:
        log.warning("no route leads to %s: nobody can call that here", ", ".join(sorted(left)))
    return routes
