"""`mqbridge broker`: a real ActiveMQ on loopback."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from activemq.embedded import EmbeddedBroker, Login, Role
from activemq.errors import EmbeddedBrokerError, PortInUseError
from mqbridge.console import CommandError, announce, say, say_ended
from mqbridge.environment import places, read_secret
from mqbridge.lifetime import entered, stop_signals
from mqbridge.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path


async def run_broker(
    kind: str,
    data: Path,
    stomp_port: int,
    openwire_port: int,
    login: str,
    passcode_file: Path | None,
    worker_queues: Sequence[str],
) -> int:
    """Run a broker until a signal, or until it ends by itself; return the exit code.

    Beside ``login``, which may do what bridges and workers may, there are ``worker`` and ``admin`` with their rights.
    """
    passcode, where = passcode_of(data, passcode_file)
    try:
        others = [
            Login(role.name.lower(), _made_passcode(data / f"{role.name.lower()}-passcode"), frozenset({role}))
            for role in (Role.WORKER, Role.ADMIN)
            if role.name.lower() != login
        ]
        broker = EmbeddedBroker(
            kind,
            data_dir=data,
            stomp_port=stomp_port,
            openwire_port=openwire_port,
            login=login,
            passcode=passcode,
            other_logins=others,
            worker_queues=worker_queues,
            quick=False,
            progress=say,
            **places(),
        )
    except ValueError as error:
        raise CommandError(str(error), 2) from error
    with stop_signals(on_stop=lambda: say("stopping the broker")) as stop:
        stopping = asyncio.create_task(stop.wait())
        try:
            async with AsyncExitStack() as stack:
                with Progress("starting the broker"):
                    up = await entered(stack, broker, stopping)
                if not up:
                    return 0
                announce(f"broker ready on {broker.stomp_url}")
                say(f"JMS clients: {broker.openwire_url}; login {broker.login}, passcode in {where}")
                names = ", ".join(f"{other.name} ({other.name}-passcode)" for other in others)
                say(f"with less or other rights: {names}, in {data}")
                ended = asyncio.create_task(broker.wait())
                await asyncio.wait([stopping, ended], return_when=asyncio.FIRST_COMPLETED)
                if ended.done():
                    raise CommandError(
                        f"the broker ended by itself (code {ended.result()}); its log: {broker.log_path}"
                    )
                ended.cancel()
        except PortInUseError as error:
            raise port_taken(error, (openwire_port,)) from error
        except EmbeddedBrokerError as error:
            raise CommandError(str(error)) from error
        finally:
            stopping.cancel()
    say_ended()
    return 0


def port_taken(error: PortInUseError, openwire_ports: Collection[int]) -> CommandError:
    """Return what to say of a port that was asked for; ``openwire_ports``: those for JMS clients."""
    option = "--openwire-port" if error.port in openwire_ports else "--stomp-port"
    return CommandError(f"port {error.port} on 127.0.0.1 is in use; {option} chooses another, and 0 is any free one")


def passcode_of(data: Path, passcode_file: Path | None) -> tuple[str, Path]:
    """Return the passcode, and where it is written; a data folder keeps the one that was made for it."""
    if passcode_file is not None:
        return read_secret(passcode_file), passcode_file
    path = data / "passcode"
    return _made_passcode(path), path


def _made_passcode(path: Path) -> str:
    """Return the passcode in a file of the data folder; it is made if there is none."""
    if path.exists():
        return read_secret(path)
    passcode = secrets.token_urlsafe(24)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(passcode + "\n")
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}; --data chooses another folder") from error
    return passcode
