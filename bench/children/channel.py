"""A child's side of the line protocol: JSON objects, one a line, on standard input and output.

The first line that comes in is the child's configuration (it may hold a passcode, so it is no argument). Once ready
the child says ``{"ready": {…}}``. After that each ``{"do": NAME, …}`` is answered by ``{"result": …}`` or
``{"error": …}``, one at a time. The end of input means that the parent is gone: the child ends at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Commands = Mapping[str, Callable[..., Awaitable[object]]]


class Channel:
    """Reads in a thread of its own, obeys on the loop."""

    def __init__(self) -> None:
        self.configuration: dict[str, Any] = json.loads(sys.stdin.readline())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._commands: Commands = {}
        threading.Thread(target=self._obey, name="commands", daemon=True).start()

    def ready(self, commands: Commands, **facts: object) -> None:
        """Say that the child is ready; from now on ``commands`` are obeyed on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._commands = commands
        _say(ready=facts)

    def _obey(self) -> None:
        for line in sys.stdin:
            command = json.loads(line)
            assert self._loop is not None  # the parent speaks after "ready" only
            doing = _do(self._commands[command.pop("do")], command)
            try:
                _say(result=asyncio.run_coroutine_threadsafe(doing, self._loop).result())
            except Exception as error:  # noqa: BLE001 - told to the parent, which raises it
                _say(error=f"{type(error).__name__}: {error}")
        os._exit(0)


async def _do(command: Callable[..., Awaitable[object]], arguments: dict[str, Any]) -> object:
    return await command(**arguments)


def _say(**message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
