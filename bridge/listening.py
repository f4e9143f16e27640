"""Where calls come in: listening sockets, of one process or shared by several on the same addresses."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bridge.sessions import SECRET_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

BACKLOG: Final = 4096  # 100, Hypercorn's default, stalls a burst of 5,000 connections for seconds [measured]


class BindError(Exception):
    """An address cannot be listened on."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which of the processes on the same addresses this one is; ``number`` counts from 1.

    ``sockets`` are bound, not listening: the process listens once it can serve. ``tell_others`` has them read their
    settings anew, too. ``secret``: what they share to know each other's sessions of the operator. ``folder``: where
    they meet to tell each other their figures; None: there is none.
    """

    number: int = 1
    of: int = 1
    sockets: tuple[socket.socket, ...] = ()
    tell_others: Callable[[], None] = lambda: None
    secret: bytes = field(default_factory=lambda: os.urandom(SECRET_BYTES), repr=False)
    folder: Path | None = None


def listen(addresses: Sequence[str]) -> list[socket.socket]:
    """Open the listening sockets. Raises :class:`BindError` naming the address."""
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            sockets.append(_bind(address))
            _listen(sockets[-1], address)
    except BindError:
        _close(sockets)
        raise
    return sockets


def share(addresses: Sequence[str], number: int) -> list[tuple[socket.socket, ...]]:
    """Bind each address once for each of ``number`` processes; return each one's sockets, which do not listen yet.

    The kernel gives each connection to one of those that listen, by a hash of its addresses (``SO_REUSEPORT``,
    socket(7)). Port 0 is one free port, the same for all. Raises :class:`BindError` naming the address, also where
    another program has it, though it may share it too.
    """
    if not sys.platform.startswith("linux"):
        raise BindError("several processes on one port need Linux: other systems do not share connections out evenly")
    places: list[list[socket.socket]] = [[] for _ in range(number)]
    opened: list[socket.socket] = []
    try:
        for address in addresses:
            # To be bound together all must have the option. The first gets it only once it is bound: alone, or not.
            first = _bind(address)
            opened.append(first)
            first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            host, port = first.getsockname()[:2]
            for place in places:
                # With the port by its number: a socket that was given any loses it when it stops listening.
                sock = _bind(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", shared=True)
                opened.append(sock)
                place.append(sock)
            first.close()
    except BindError:
        _close(opened)
        raise
    return [tuple(place) for place in places]


def names(sockets: Sequence[socket.socket]) -> list[str]:
    """Return each socket's address as HOST:PORT."""
    found = []
    for sock in sockets:
        host, port = sock.getsockname()[:2]
        found.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    return found


def _bind(address: str, *, shared: bool = False) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where it can see that it is TCP; socket.create_server() does not say so, and
    # each answer would wait 40 ms for the caller's delayed ACK.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind((host, int(port)))
    except OSError as error:
        sock.close()
        raise _refused(address, error) from error
    return sock


def _listen(sock: socket.socket, address: str) -> None:
    try:
        sock.listen(BACKLOG)  # of two that have bound the same address without listening the second fails only here
    except OSError as error:
        raise _refused(address, error) from error


def _refused(address: str, error: OSError) -> BindError:
    hint = "; is another bridge running? [server] bind chooses another address"
    return BindError(f"cannot listen on {address}: {error.strerror}{hint}")


def _close(sockets: Sequence[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
