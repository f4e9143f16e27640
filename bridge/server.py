"""Runs the bridge on an HTTP server: which one, its limits, signals, drain."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import resource
import signal
import ssl
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from bridge.app import Bridge
from bridge.connections import MAX_HEAD, connections_allowed
from bridge.jobs.store import StoreRefusedError
from bridge.listening import BACKLOG, Place, listen, names
from bridge.memory import tidy_after_crowds

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from typing import Any

    from hypercorn.config import Config as HypercornConfig
    from hypercorn.typing import Framework

    from activemq import Client
    from bridge.reload import Reloader
    from bridge.settings import Broker, Server, Settings

    Connect = Callable[[Broker], Client]
    Beside = Callable[[], AbstractAsyncContextManager[Connect]]
    MakeBridge = Callable[[Settings, Callable[[], Settings] | None, Place | None, Connect | None], Bridge]

log = logging.getLogger(__name__)

KEEP_ALIVE: Final = 75.0  # seconds
CLOSING: Final = 5.0  # seconds for connections to end once nothing is held
LISTEN_WITHIN: Final = 5.0  # seconds; one of several processes listens then even if it cannot serve yet, to say so


def choose(server: Server) -> tuple[str, str]:
    """Return which HTTP server to run, ``uvicorn`` or ``hypercorn``, and why."""
    if server.implementation != "auto":
        return server.implementation, "as the settings say"
    if server.http2 or server.client_ca is not None:
        return "hypercorn", "HTTP/2 or client certificates are asked for"
    if all(find_spec(name) for name in ("uvicorn", "httptools")):
        return "uvicorn", "the `fast` extra is installed, and neither HTTP/2 nor client certificates are asked for"
    return "hypercorn", "the `fast` extra is not installed"


def run(
    settings: Settings,
    on_ready: Callable[[list[str]], None],
    *,
    drain_on: asyncio.Event | None = None,
    load: Callable[[], Settings] | None = None,
    place: Place | None = None,
    beside: Beside | None = None,
    make: MakeBridge = Bridge,
    on_drain: Callable[[], None] | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; return how many calls were still held when the time to drain was over.

    ``on_ready`` is called with the addresses, e.g. ``http://127.0.0.1:8080``, once calls are accepted and the broker
    is connected. ``load`` reads the settings anew, at SIGHUP. ``place``: among several processes.
    ``beside``: what stands in for a broker, and runs for as long as calls are served. ``make`` makes the bridge.
    ``on_drain`` is called when a signal has come. Raises :class:`BindError` and :class:`StoreRefusedError`.
    """
    implementation, why = choose(settings.server)
    log.info("HTTP server: %s (%s)", implementation, why)
    loop_factory = None
    if implementation == "uvicorn" and find_spec("uvloop"):
        import uvloop  # noqa: PLC0415 - part of an extra

        loop_factory = uvloop.new_event_loop
    _allow_many_connections()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        serving = functools.partial(
            serve, settings, implementation, on_ready, drain_on, load, place, make=make, on_drain=on_drain
        )
        return runner.run(serving() if beside is None else _serve_beside(beside, serving))


async def serve(
    settings: Settings,
    implementation: str,
    on_ready: Callable[[list[str]], None],
    stop: asyncio.Event | None = None,
    load: Callable[[], Settings] | None = None,
    place: Place | None = None,
    connect: Connect | None = None,
    make: MakeBridge = Bridge,
    on_drain: Callable[[], None] | None = None,
) -> int:
    """Serve on the running loop; see :func:`run`. Setting ``stop`` does what SIGTERM does."""
    sockets = listen(settings.server.bind) if place is None else place.sockets
    scheme = "https" if settings.server.tls_certificate else "http"
    addresses = [f"{scheme}://{name}" for name in names(sockets)]
    stop = stop or asyncio.Event()
    hurry = asyncio.Event()
    bridge = make(settings, load, place, connect)
    await bridge.start()
    closing, listening = asyncio.Event(), asyncio.Event()

    async def run_server() -> None:
        if place is not None:
            await _until_it_can_serve(bridge, closing)
            for sock in sockets:
                sock.listen(BACKLOG)
        listening.set()
        runs = _uvicorn if implementation == "uvicorn" else _hypercorn
        await runs(bridge, settings.server, sockets, closing)

    server = asyncio.create_task(run_server(), name="HTTP server")
    tidying = asyncio.create_task(tidy_after_crowds(lambda: bridge.admission.held), name="memory")
    announce = asyncio.create_task(_announce(bridge, listening, lambda: on_ready(addresses)), name="ready line")
    try:
        with _signals(stop, hurry), _reload_at_sighup(bridge.reloader):
            stopping = asyncio.create_task(stop.wait())
            refused = asyncio.create_task(_refused(bridge))
            await asyncio.wait([server, stopping, refused], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            refused.cancel()
            if stop.is_set() and on_drain is not None:
                on_drain()
            left = await _drain(bridge, settings.server.drain, hurry)
            await bridge.stop()  # before the server: whatever is still held is told, and not cut without a word
            closing.set()
            await server
            if refused.done() and not refused.cancelled():
                raise refused.result()
            return left
    finally:
        announce.cancel()
        tidying.cancel()
        server.cancel()
        await bridge.stop()
        for sock in sockets:
            sock.close()


async def _refused(bridge: Bridge) -> StoreRefusedError:
    """Wait until it turns out that this bridge must not run; for ever, usually."""
    try:
        await asyncio.shield(bridge.jobs.settled)
    except StoreRefusedError as error:
        return error
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def _serve_beside(beside: Beside, serving: Callable[..., Coroutine[Any, Any, int]]) -> int:
    async with beside() as connect:
        return await serving(connect=connect)


async def _until_it_can_serve(bridge: Bridge, closing: asyncio.Event) -> None:
    """Leave new connections to the other processes meanwhile, but not for ever: there may be none that can serve."""
    waiting = [asyncio.create_task(_settled(bridge)), asyncio.create_task(closing.wait())]
    await asyncio.wait(waiting, timeout=LISTEN_WITHIN, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


async def _settled(bridge: Bridge) -> None:
    await bridge.client.wait_connected()
    with suppress(StoreRefusedError):  # whether there is a store or not, that is known now
        await asyncio.shield(bridge.jobs.settled)


async def _announce(bridge: Bridge, listening: asyncio.Event, on_ready: Callable[[], None]) -> None:
    await _settled(bridge)
    await listening.wait()
    # What is there now stays: leave it out of every later collection (docs/performance.md).
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
    on_ready()


async def _drain(bridge: Bridge, timeout: float, hurry: asyncio.Event) -> int:
    """Finish what is held; a second signal is somebody who does not want to wait."""
    if bridge.admission.held:
        log.warning("draining: calls held: %d, for at most %g s", bridge.admission.held, timeout)
    drained = asyncio.create_task(bridge.admission.drain(timeout))
    hurried = asyncio.create_task(hurry.wait())
    await asyncio.wait([drained, hurried], return_when=asyncio.FIRST_COMPLETED)
    drained.cancel()
    hurried.cancel()
    if bridge.admission.held:
        log.error("given up at the end: calls still held: %d", bridge.admission.held)
    return bridge.admission.held


@contextmanager
def _signals(stop: asyncio.Event, hurry: asyncio.Event) -> Iterator[None]:
    def asked() -> None:
        if stop.is_set():
            hurry.set()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


@contextmanager
def _reload_at_sighup(reloader: Reloader | None) -> Iterator[None]:
    if reloader is None:
        yield
        return
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[None]] = set()

    def asked() -> None:
        task = loop.create_task(reloader.reload_and_log())
        running.add(task)  # the loop itself keeps no hold of it
        task.add_done_callback(running.discard)

    loop.add_signal_handler(signal.SIGHUP, asked)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


async def _uvicorn(bridge: Bridge, server: Server, sockets: Sequence[socket.socket], closing: asyncio.Event) -> None:
    import uvicorn  # noqa: PLC0415 - part of an extra

    from bridge.uvicorn_protocol import BridgeProtocol  # noqa: PLC0415 - as above

    class Limited(BridgeProtocol):
        head_timeout = server.head_timeout
        max_connections = connections_allowed(server.max_connections)

    class OwnSignals(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # ours drain first

    config = uvicorn.Config(
        bridge,
        http=Limited,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nobody's word for who the caller is, and a layer less
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=int(KEEP_ALIVE),
        timeout_graceful_shutdown=int(CLOSING),
        ssl_certfile=server.tls_certificate,
        ssl_keyfile=server.tls_key,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    runner = OwnSignals(config)
    stopper = asyncio.create_task(_when(closing, lambda: setattr(runner, "should_exit", True)))
    try:
        await runner.serve(sockets=list(sockets))
    finally:
        stopper.cancel()


async def _hypercorn(bridge: Bridge, server: Server, sockets: Sequence[socket.socket], closing: asyncio.Event) -> None:
    import hypercorn.asyncio.run  # noqa: PLC0415 - only one of the two servers is loaded
    import hypercorn.protocol.h2  # noqa: PLC0415 - as above
    from hypercorn.asyncio import serve as hypercorn_serve  # noqa: PLC0415 - as above

    from bridge.hypercorn_protocol import (  # noqa: PLC0415 - as above
        BoundedBuffer,
        BoundedServer,
        BridgeStream,
        StrictHttp1,
        StrictHttp2,
    )

    # It has no setting for this; what makes the connections takes the classes from there, at each connection.
    hypercorn.protocol.H11Protocol = StrictHttp1  # type: ignore[attr-defined,assignment]  # not in its __all__
    hypercorn.protocol.H2Protocol = StrictHttp2  # type: ignore[attr-defined,assignment]  # as above
    hypercorn.protocol.h2.HTTPStream = BridgeStream  # type: ignore[attr-defined]  # as above
    hypercorn.protocol.h2.StreamBuffer = BoundedBuffer  # type: ignore[misc]  # mypy: a class is no variable
    hypercorn.asyncio.run.TCPServer = BoundedServer  # type: ignore[attr-defined]  # as above
    await hypercorn_serve(
        _as_framework(bridge), _hypercorn_config(server, sockets), shutdown_trigger=closing.wait, mode="asgi"
    )


def _as_framework(bridge: Bridge) -> Framework:
    return bridge  # type: ignore[return-value]  # ASGI's messages are dicts to us, TypedDicts to Hypercorn


def _hypercorn_config(server: Server, sockets: Sequence[socket.socket]) -> HypercornConfig:
    from bridge.hypercorn_protocol import BridgeConfig  # noqa: PLC0415 - see _hypercorn

    config = BridgeConfig()
    config.head_timeout = server.head_timeout
    config.max_connections = connections_allowed(server.max_connections)
    config.bind = [f"fd://{os.dup(sock.fileno())}" for sock in sockets]  # it closes what it is given
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    config.backlog = BACKLOG
    config.keep_alive_timeout = KEEP_ALIVE
    config.keep_alive_max_requests = 1_000_000_000  # 1,000, its default, makes busy callers connect again and again
    config.read_timeout = None  # it would cut held calls [measured]; bodies are timed by us
    config.graceful_timeout = CLOSING  # by then nothing is held
    config.h11_max_incomplete_size = MAX_HEAD
    config.alpn_protocols = ["h2", "http/1.1"] if server.http2 else ["http/1.1"]
    if server.tls_certificate is not None:
        config.certfile, config.keyfile = str(server.tls_certificate), str(server.tls_key)
    if server.client_ca is not None:
        config.ca_certs, config.verify_mode = str(server.client_ca), ssl.CERT_OPTIONAL  # others have keys or tokens
    logging.getLogger("hypercorn").setLevel(logging.WARNING)
    return config


async def _when(event: asyncio.Event, act: Callable[[], None]) -> None:
    await event.wait()
    act()


def _allow_many_connections() -> None:
    """Use all the descriptors that the system lets us have: each held call is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
