"""Ports on loopback.

For port 0 we choose one ourselves and do not leave it to the operating system. Its own choice lies in the range from
which it also takes the local ports of outgoing connections. A client that reconnects while the broker is down can then
be given the broker's own port and, on loopback, connect to itself: the broker cannot come back. Below that range
(32768 on Linux, 49152 elsewhere) nobody takes a port unasked. The race between looking and binding remains; the
launcher tries again with others if Java reports a port as taken.
"""

from __future__ import annotations

import errno
import random
import socket

LOOPBACK = "127.0.0.1"
_FIRST, _LAST = 20_000, 32_000
_TRIES = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on that loopback port now. ``OSError`` if it may not at all (below 1024)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does: TIME_WAIT is no obstacle
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def choose_free(*, besides: int = 0) -> int:
    """Return a free loopback port other than ``besides``; ``OSError`` if none was found."""
    for _ in range(_TRIES):
        port = random.randint(_FIRST, _LAST)  # noqa: S311 - to spread, not to hide
        if port != besides and is_free(port):
            return port
    raise OSError(errno.EADDRINUSE, f"no free port found between {_FIRST} and {_LAST}")


def choose_several(count: int) -> list[int]:
    """Return so many different free loopback ports; ``OSError`` if they were not found."""
    chosen: set[int] = set()
    while len(chosen) < count:
        chosen.add(choose_free())
    return list(chosen)
