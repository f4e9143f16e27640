"""`mqbridge work --processes N`: several workers, and the process above them that starts again what dies."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from mqbridge.commands.children import spawn
from mqbridge.commands.processes import Kind, Supervisor
from mqbridge.environment import environment
from mqbridge.lifetime import without_threads
from mqbridge.notify import for_children

if TYPE_CHECKING:
    import socket
    from asyncio.subprocess import Process
    from collections.abc import Sequence

WORKERS: Final = Kind("worker", "mqbridge: worker ready ", None)
OPTION: Final = "--processes"


def work_many(arguments: Sequence[str], number: int) -> int:
    """Run `mqbridge` with these arguments that often, without ``--processes``, until a signal; return the exit code."""
    own = without_processes(arguments)
    environ = for_children(environment())

    async def start(_number: int, _sockets: tuple[socket.socket, ...]) -> Process:
        return await spawn(own, environ)

    without_threads()
    return asyncio.run(Supervisor([()] * number, start, WORKERS).run())


def without_processes(arguments: Sequence[str]) -> list[str]:
    """Return a command line without ``--processes N`` and ``--processes=N``."""
    left, skip = [], False
    for argument in arguments:
        if skip or argument == OPTION:
            skip = not skip
        elif not argument.startswith(f"{OPTION}="):
            left.append(argument)
    return left
