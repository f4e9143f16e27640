"""Telling systemd how a service is: sd_notify(3) without its library. Where nobody listens it does nothing."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

READY = "READY=1"
NOTIFY_SOCKET = "NOTIFY_SOCKET"


def notify(state: str) -> None:
    """Send one assignment to the socket that NOTIFY_SOCKET names; an @ at its head is an abstract one (unix(7))."""
    address = os.environ.get(NOTIFY_SOCKET)
    if not address:
        return
    name = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(state.encode(), name)
    except OSError as error:
        log.warning("systemd cannot be told %r: %s", state, error)


def for_children(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for processes below ours, without the socket: that all are ready is ours to tell."""
    return {name: value for name, value in environ.items() if name != NOTIFY_SOCKET}
