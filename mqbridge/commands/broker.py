"""`mqbridge broker`: a real ActiveMQ on loopback."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from activemq.embedded import EmbeddedBroker
from activemq.errors import EmbeddedBrokerError
from mqbridge.console import CommandError, announce, say
from mqbridge.environment import places, read_secret
from mqbridge.lifetime import stop_signals
from mqbridge.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path


async def run_broker(
    kind: str, data: Path, stomp_port: int, openwire_port: int, login: str, passcode_file: Path | None
) -> int:
    """Run a broker until a signal, or until it ends by itself; return the exit code."""
    passcode, where = _passcode(data, passcode_file)
    try:
        broker = EmbeddedBroker(
            kind,
            data_dir=data,
            stomp_port=stomp_port,
            openwire_port=openwire_port,
            login=login,
            passcode=passcode,
            quick=False,
            progress=say,
            **places(),
        )
    except ValueError as error:
        raise CommandError(str(error), 2) from error
    with stop_signals() as stop:
        stopping = asyncio.create_task(stop.wait())
        try:
            async with AsyncExitStack() as stack:
                with Progress("starting the broker"):
                    await stack.enter_async_context(broker)
                announce(f"broker ready on {broker.stomp_url}")
                say(f"JMS clients: {broker.openwire_url}; login {broker.login}, passcode in {where}")
                ended = asyncio.create_task(broker.wait())
                await asyncio.wait([stopping, ended], return_when=asyncio.FIRST_COMPLETED)
                if ended.done():
                    raise CommandError(
                        f"the broker ended by itself (code {ended.result()}); its log: {broker.log_path}"
                    )
                ended.cancel()
        except EmbeddedBrokerError as error:
            raise CommandError(str(error)) from error
        finally:
            stopping.cancel()
    return 0


def _passcode(data: Path, passcode_file: Path | None) -> tuple[str, Path]:
    """Return the passcode and where it is written; a data folder keeps the one that was made for it."""
    if passcode_file is not None:
        return read_secret(passcode_file), passcode_file
    path = data / "passcode"
    if path.exists():
        return read_secret(path), path
    passcode = secrets.token_urlsafe(24)
    try:
        data.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(passcode + "\n")
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}; --data chooses another folder") from error
    return passcode, path
