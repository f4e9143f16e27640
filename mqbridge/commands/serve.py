"""`mqbridge serve`: the bridge."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import signal
import socket
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from bridge.app import Bridge
from bridge.jobs.store import StoreRefusedError
from bridge.listening import BindError, Place, share
from bridge.server import run
from bridge.sessions import SECRET_BYTES
from bridge.settings import Admin, Settings, SettingsError, load
from mqbridge.commands.children import spawn
from mqbridge.commands.key import make_key
from mqbridge.commands.processes import READY, Kind, Supervisor
from mqbridge.console import CommandError, announce, log_to_stderr, say, say_draining, say_ended
from mqbridge.environment import ADMIN_KEY_SHA256, FOLDER, SESSIONS, environment
from mqbridge.lifetime import without_threads
from mqbridge.notify import for_children
from mqbridge.tracing import bridge_spans, tracer_provider

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Sequence

log = logging.getLogger(__name__)
_PLACE: Final = re.compile(r"(?P<number>[0-9]{1,4})/(?P<of>[0-9]{1,4}):(?P<descriptors>[0-9]+(?:,[0-9]+)*)")


def serve(config: Path, log_level: str | None = None, place: Place | None = None) -> int:
    """Run until a signal; return the exit code. ``log_level`` goes before that of the settings.

    ``place``: this is one of several processes.
    """
    settings = read_settings(config)
    if place is None:
        settings = with_admin_key(settings)
    log_to_stderr(log_level or settings.log.level, settings.log.format)
    if place is None or place.number == 1:
        for note in settings.notes:
            log.warning("%s", note)
    try:
        with tracer_provider("mqbridge", settings.tracing) as provider:
            cut = run(
                settings,
                lambda addresses: announce(f"ready on {' '.join(addresses)}"),
                load=lambda: _again(config, settings.admin),
                place=place,
                make=partial(Bridge, tracing=bridge_spans(provider)),
                on_drain=say_draining,
            )
            say_ended()
    except BindError as error:
        raise CommandError(str(error)) from error
    except StoreRefusedError as error:
        raise CommandError(f"the store is refused: {error}", 2) from error
    return 1 if cut else 0


def serve_many(config: Path, number: int, log_level: str | None = None) -> int:
    """Run that many processes on the same addresses until a signal; return the exit code."""
    settings = read_settings(config)
    keyed = with_admin_key(settings)
    log_to_stderr(log_level or settings.log.level, settings.log.format)
    environ = for_children(environment())
    if keyed is not settings:  # one key for all, and for those that are started later
        environ[ADMIN_KEY_SHA256] = keyed.admin.key_sha256
    environ[SESSIONS] = secrets.token_hex(SECRET_BYTES)
    try:
        places = share(settings.server.bind, number)
    except BindError as error:
        raise CommandError(str(error)) from error
    level = ["--log-level", log_level] if log_level else []
    arguments = ["serve", "--config", str(config), *level, "--place"]

    async def start(seat: int, sockets: tuple[socket.socket, ...]) -> Process:
        descriptors = [sock.fileno() for sock in sockets]
        return await spawn([*arguments, written(seat, number, descriptors)], environ, descriptors)

    without_threads()
    with ExitStack() as stack:
        try:
            environ[FOLDER] = stack.enter_context(TemporaryDirectory(prefix="mqbridge-"))  # mode 0700
        except OSError as error:
            log.warning("metrics are of one process each: there is no folder for temporary files (%s)", error)
        return asyncio.run(Supervisor(places, start, Kind("bridge", READY, settings.server.drain)).run())


def written(number: int, of: int, descriptors: Sequence[int]) -> str:
    """Return a process's place as its command line has it; see :func:`place_of`."""
    return f"{number}/{of}:{','.join(map(str, descriptors))}"


def place_of(text: str) -> Place:
    """Read what :func:`written` has made, in the process that it is for. Raises :class:`CommandError`."""
    match = _PLACE.fullmatch(text)
    if match is None:
        raise CommandError(f"--place {text!r}: is for processes that --processes starts", 2)
    parent = os.getppid()

    def tell_others() -> None:
        if os.getppid() == parent:  # else it has died, and who has taken its place must not get its signals
            os.kill(parent, signal.SIGHUP)

    try:
        sockets = tuple(socket.socket(fileno=int(number)) for number in match["descriptors"].split(","))
    except OSError as error:
        raise CommandError(
            f"--place {text!r}: {error.strerror}; it is for processes that --processes starts", 2
        ) from error
    secret = bytes.fromhex(environment()[SESSIONS])
    folder = environment().get(FOLDER)
    number, of = int(match["number"]), int(match["of"])
    return Place(number, of, sockets, tell_others, secret, None if folder is None else Path(folder))


def with_admin_key(settings: Settings) -> Settings:
    """Give a bridge without any authentication an admin key for as long as it runs, and print it once."""
    if settings.admin.key_sha256 or settings.callers or settings.jwt is not None:
        return settings
    key, key_sha256 = make_key()
    say(f"admin key {key}")
    log.info("the admin key opens `mqbridge top` and /-/api until the bridge ends; [admin] key_sha256 sets your own")
    return settings.model_copy(update={"admin": Admin(key_sha256=key_sha256)})


def _again(config: Path, admin: Admin) -> Settings:
    """Read the settings anew; the key that was made at the start stays."""
    settings = load(config, environment())
    return settings if settings.admin.key_sha256 else settings.model_copy(update={"admin": admin})


def read_settings(config: Path) -> Settings:
    """Read the settings. Raises :class:`CommandError` that lists all faults."""
    try:
        return load(config, environment())
    except SettingsError as error:
        raise CommandError(f"the configuration is refused\n{error}", 2) from error
