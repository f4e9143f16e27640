"""What commands print, and how they fail."""

from __future__ import annotations

import logging
import sys
from typing import Final, Literal

from mqbridge.notify import READY, notify

_LINE: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class CommandError(Exception):
    """A command cannot do what was asked; ``code`` is the exit code (docs/command-line.md)."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def counted(number: int, thing: str) -> str:
    """Return ``1 route`` or ``2 routes``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def say(line: str) -> None:
    """Print a line for people, and for scripts that wait for it, on standard error."""
    print(f"mqbridge: {line}", file=sys.stderr, flush=True)


def say_draining() -> None:
    """Say that a signal has come, and that what runs is finished first."""
    say("draining; a second signal ends it at once")


def say_ended() -> None:
    """Say that a service is over, as the last line of one that drained."""
    say("ended")


def announce(line: str) -> None:
    """Say that a service is ready, to people, to scripts, and to systemd if it has started us."""
    notify(READY)
    say(line)


def log_to_stderr(level: str, form: Literal["console", "json"] = "console") -> None:
    """Send the log to standard error, in lines for people or in JSON, one object a line.

    Raises :class:`CommandError` for a level that does not exist.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise CommandError(f"--log-level {level!r}: must be debug, info, warning or error", 2)
    handler = logging.StreamHandler()
    handler.setFormatter(_json() if form == "json" else logging.Formatter(_LINE))
    logging.basicConfig(level=number, handlers=[handler], force=True)
    # httpx tells each request of the sidecar at info, alembic each part of itself; asyncio its selector at debug
    for chatty in ("httpx", "httpcore", "asyncio", "hypercorn", "uvicorn", "alembic.runtime.plugins"):
        logging.getLogger(chatty).setLevel(max(number, logging.WARNING))


def _json() -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter  # noqa: PLC0415 - most logs are for people

    return JsonFormatter(
        ["asctime", "levelname", "process", "name", "message", "exc_info"],
        rename_fields={
            "asctime": "time",
            "levelname": "level",
            "process": "pid",
            "name": "logger",
            "exc_info": "trace",
        },
        datefmt="%Y-%m-%dT%H:%M:%S%z",
    )
