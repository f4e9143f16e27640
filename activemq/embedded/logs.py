"""What a broker's log says about why it did not start."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_TAIL = 256 * 1024  # bytes of the log that are looked at
_MOST_LINES = 6
_LONGEST_LINE = 300
_PORT_TAKEN = re.compile(r"Failed to bind to server socket: \w[\w+]*://[\d.]+:(\d+).*?Address already in use")
_TELLING = re.compile(r"^(?:Caused by:|Reason:|Error|Exception in|java: )|\bERROR\b|\bFATAL\b|OutOfMemory|is locked")


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
    return int(found[1]) if found else None


def telling_lines(text: str) -> str:
    """Pick up to six different lines that name an error, or the last ones if none does."""
    lines = [line.strip()[:_LONGEST_LINE] for line in text.splitlines() if line.strip()]
    telling = list(dict.fromkeys(line for line in lines if _TELLING.search(line)))
    return "\n  ".join(telling[-_MOST_LINES:] or lines[-_MOST_LINES:])
