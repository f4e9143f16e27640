"""`mqbridge broker --ha`: two brokers of which one stands in for the other, on loopback."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from activemq.embedded import BrokerPair, Database
from activemq.embedded.pair import NAMES, SHARED_JDBC
from activemq.errors import EmbeddedBrokerError, PortInUseError
from mqbridge.commands.broker import passcode_of, port_taken
from mqbridge.console import CommandError, say
from mqbridge.environment import places, read_secret
from mqbridge.lifetime import entered, stop_signals

if TYPE_CHECKING:
    from pathlib import Path

    from activemq.embedded import EmbeddedBroker

LOOK_EVERY: Final = 0.5  # seconds
AGAIN_AFTER: Final = 5.0  # seconds; time to see the other one take over


def database_of(url: str | None, user: str, password_file: Path | None) -> Database | None:
    """Return what the options name; raises :class:`CommandError` if half of it is missing."""
    if url is None:
        return None
    if password_file is None:
        raise CommandError("--database needs --database-password-file", 2)
    return Database(url, user, read_secret(password_file))


async def run_pair(
    shape: str, data: Path, stomp_port: int, openwire_port: int, passcode_file: Path | None, database: Database | None
) -> int:
    """Run both until a signal, and say which is live; return the exit code.

    It kills nothing. One that ends by itself, or by your hand, is started again after five seconds.
    """
    passcode, where = passcode_of(data, passcode_file)
    try:
        pair = BrokerPair(
            shape,
            data,
            stomp_ports=_two(stomp_port),
            openwire_ports=_two(openwire_port),
            database=database,
            passcode=passcode,
            quick=False,
            progress=say,
            **places(),
        )
    except ValueError as error:
        hint = "; --database names it" if database is None and shape == SHARED_JDBC else ""
        raise CommandError(f"{error}{hint}", 2) from error
    with stop_signals() as stop:
        stopping = asyncio.create_task(stop.wait())
        try:
            async with AsyncExitStack() as stack:
                if not await entered(stack, pair, stopping):
                    return 0
                say(f"login {pair.login}, passcode in {where}")
                say("[broker] urls = [" + ", ".join(f'"{url}"' for url in pair.urls) + "]")
                await _until_stopped(pair, stopping)
        except PortInUseError as error:
            raise port_taken(error, _two(openwire_port)) from error
        except EmbeddedBrokerError as error:
            raise CommandError(str(error)) from error
        finally:
            stopping.cancel()
    return 0


def _two(port: int) -> tuple[int, int]:
    return (port, port + 1) if port else (0, 0)


async def _until_stopped(pair: BrokerPair, stopping: asyncio.Task[bool]) -> None:
    tasks = [asyncio.create_task(_tell_who_is_live(pair))]
    tasks += [asyncio.create_task(_keep_up(name, broker)) for name, broker in zip(NAMES, pair.brokers, strict=True)]
    try:
        await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _tell_who_is_live(pair: BrokerPair) -> None:
    told = ""
    while True:
        live = await pair.live()
        place = "neither broker answers" if live is None else f"live: {NAMES[pair.brokers.index(live)]}"
        line = place if live is None else f"{place}, pid {live.pid}, {live.stomp_url}"
        if line != told:
            say(line)
            told = line
        await asyncio.sleep(LOOK_EVERY)


async def _keep_up(name: str, broker: EmbeddedBroker) -> None:
    while True:
        code = await broker.wait()
        say(f"broker {name} ended (code {code}); starting it again in {AGAIN_AFTER:g} s")
        await asyncio.sleep(AGAIN_AFTER)
        await broker.start()
        say(f"broker {name} is back, pid {broker.pid}")
