"""`mqbridge work` and `mqbridge forward`: workers."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activemq import Client, Credentials, Server
from activemq.servers import tls_context
from consumers import Worker
from consumers.watchdog import Patience
from consumers.worker import SubscriptionRefusedError
from mqbridge.console import CommandError, announce, say_draining, say_ended
from mqbridge.health import HealthFileError, health_file
from mqbridge.lifetime import stop_signals
from mqbridge.tracing import tracer_provider, worker_spans

if TYPE_CHECKING:
    from collections.abc import Sequence


async def run_worker(
    worker: Worker,
    servers: Sequence[Server],
    who: Credentials,
    concurrency: int,
    health: Path | None = None,
    *,
    declare: bool = True,
    heartbeat: float = 10.0,
    patience: Patience | None = None,
) -> int:
    """Run a worker until a signal; return the exit code.

    ``health``: see :mod:`mqbridge.health`; ``declare`` and ``heartbeat`` (seconds): as for :class:`activemq.Client`;
    ``patience``: as for :meth:`Worker.run`.
    """
    client = Client(servers, who, declare=declare, heartbeat=heartbeat)
    try:
        queues = ", ".join(f"{queue} × {number}" for queue, number in worker.slots(concurrency).items())
    except ValueError as error:
        raise CommandError(f"--concurrency: {error}", 2) from error
    with stop_signals(on_stop=say_draining) as stop:

        def state() -> str:
            return "draining" if stop.is_set() else "ready" if client.connected else "without a broker"

        try:
            async with health_file(health, state):
                with tracer_provider(worker.name) as provider:
                    spans = worker_spans(provider)
                    await worker.run(
                        client, concurrency, stop, lambda: announce(f"worker ready ({queues})"), spans, patience
                    )
        except SubscriptionRefusedError as error:
            raise CommandError(f"{error}; may this login read the queue?") from error
        except HealthFileError as error:
            raise CommandError(f"--health-file {error}", 2) from error
    say_ended()
    return 0


def parse_servers(
    urls: Sequence[str], ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> list[Server]:
    """Read the brokers' addresses; for the files see :func:`activemq.servers.tls_context`.

    Raises :class:`CommandError`.
    """
    given = {"--tls-ca": ca, "--tls-certificate": certificate, "--tls-key": key}
    named = " ".join(name for name, path in given.items() if path is not None)
    if named and not any(url.startswith("stomp+ssl:") for url in urls):
        raise CommandError(f"{named}: of no use, no --broker begins with stomp+ssl://", 2)
    if (certificate is None) != (key is None):
        raise CommandError("--tls-certificate and --tls-key go together", 2)
    try:
        context = tls_context(ca, certificate, key) if named else None
    except OSError as error:  # an ssl.SSLError too; OpenSSL does not say which file it means
        files = ", ".join(str(path) for path in given.values() if path is not None)
        reason = error.strerror or str(error)
        raise CommandError(f"{named} ({files}) cannot be used, is it PEM without a password? {reason}", 2) from error
    try:
        return [Server.parse(url, context) for url in urls]
    except ValueError as error:
        raise CommandError(f"--broker {error}", 2) from error


def find(reference: str, option: str) -> Any:  # noqa: ANN401 - it is the caller who knows what it should be
    """Import ``MODULE:NAME``, also from the working directory. Raises :class:`CommandError` saying what is missing."""
    module_name, colon, name = reference.partition(":")
    if not (module_name and colon and name):
        raise CommandError(f"{option} {reference!r}: must be MODULE:NAME, e.g. hello:worker", 2)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and not f"{module_name}.".startswith(f"{error.name}."):
            raise  # something that the module itself imports
        raise CommandError(f"{option} {reference}: there is no module {module_name!r} here or installed", 2) from error
    try:
        return getattr(module, name)
    except AttributeError as error:
        raise CommandError(f"{option} {reference}: module {module_name!r} has no {name!r}", 2) from error


def find_worker(reference: str) -> Worker:
    """Find a worker by ``MODULE:NAME``. Raises :class:`CommandError`."""
    worker = find(reference, "work")
    if not isinstance(worker, Worker):
        raise CommandError(
            f"{reference} is a {type(worker).__name__}, not a consumers.Worker (or is it an --asgi app?)", 2
        )
    if not worker.queues:
        raise CommandError(f"{reference} has no handler: decorate a function with @worker.handler(QUEUE)", 2)
    return worker


def find_asgi_worker(reference: str, queue: str) -> Worker:
    """Make a worker of an ASGI app by ``MODULE:APP``. Raises :class:`CommandError`."""
    from consumers.adapters.asgi import asgi_worker  # noqa: PLC0415 - only where it is used

    app = find(reference, "--asgi")
    if not callable(app):
        raise CommandError(f"--asgi {reference} is a {type(app).__name__}, not an ASGI app", 2)
    return asgi_worker(app, queue)


def patience(hung_after: float, longest: float | None) -> Patience | None:
    """Return when a handler hangs, from ``--hung-after`` and ``--longest``; None: never."""
    return Patience(hung_after, longest) if hung_after else None


def make_forward_worker(queue: str, url: str, concurrency: int) -> Worker:
    """Make a worker that forwards to an HTTP service. Raises :class:`CommandError` for a URL that is none."""
    from consumers.adapters.forward import forward_worker  # noqa: PLC0415 - httpx is slow to load

    try:
        return forward_worker(queue, url, concurrency)
    except ValueError as error:
        raise CommandError(str(error), 2) from error
