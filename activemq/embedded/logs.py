"""What a broker's log says about why it did not start."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_TAIL = 256 * 1024  # bytes of the log that are looked at
_MOST_LINES = 6
_LONGEST_LINE = 300
_PORT_TAKEN = re.compile(
    r"Failed to bind to server socket: \w[\w+]*://[\w.]+:(?P<classic>\d+).*?Address already in use"
    r"|AMQ229230: Failed to bind acceptor \w+ to [\w.]+:(?P<artemis>\d+)"
)
_STORE_LOCKED = re.compile(r"File '.*' could not be locked")
_CAUSE = "Caused by: "
_TRACE_PARTS = ("at ", "... ", "Suppressed: ")


def read_tail(path: Path) -> str:
    """Read the end of the log, at most 256 KiB; empty if it cannot be read."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _TAIL))
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""


def taken_port(text: str) -> int | None:
    """Return the port that the broker found in use, if that is what it says."""
    found = _PORT_TAKEN.search(text)
    return int(found["classic"] or found["artemis"]) if found else None


def store_locked(text: str) -> bool:
    """Whether it says that another broker holds its store."""
    return _STORE_LOCKED.search(text) is not None


def telling_lines(text: str) -> str:
    """Pick up to six lines: the innermost causes of its stack traces, or else its last words."""
    lines = [line.strip()[:_LONGEST_LINE] for line in text.splitlines() if line.strip()]
    chosen = list(dict.fromkeys(_root_causes(lines))) or [line for line in lines if not line.startswith(_TRACE_PARTS)]
    return "\n  ".join(chosen[-_MOST_LINES:])


def _root_causes(lines: list[str]) -> list[str]:
    """Return the last cause of each stack trace: Java names the innermost one last."""
    causes: list[str] = []
    cause = ""
    for line in [*lines, ""]:
        if line.startswith(_CAUSE):
            cause = line.removeprefix(_CAUSE)
        elif cause and not line.startswith(_TRACE_PARTS):
            causes.append(cause)
            cause = ""
    return causes
