"""What the broker is told: users, rights, limits and ports; :mod:`activemq.embedded.rendering` writes it down.

Three roles with the least rights that the message contract needs:

* ``worker``: reads and writes its queues, writes their ``.poison`` and replies (``bridge.replies.>`` and temporary
  queues, or ``bridge.reply.>``), has a destination for the clock's echo, reads the topic ``bridge.cancel``.
* ``bridge``: all queues, a temporary destination of its own, the topics ``bridge.>``, and hears who listens.
* ``admin``: everything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from activemq.embedded.standby import Standby

MIB = 1024 * 1024
_QUEUE_PATTERN = re.compile(r"(?:[A-Za-z0-9_-]+\.)*(?:[A-Za-z0-9_-]+|>)")


class Role(Enum):
    """What a login may do; the value is its group in the broker's configuration."""

    BRIDGE = "bridges"
    WORKER = "workers"
    ADMIN = "admins"


@dataclass(frozen=True, slots=True)
class Login:
    """A user of the broker, and what it may do.

    ``ValueError`` for a name or passcode that is empty, holds unprintable characters, spaces at an end, or a backslash
    (ActiveMQ and STOMP 1.2 differ on what it means in CONNECT), or ``${`` or ``#{``, which Spring would evaluate, or
    ``ENC(``, which Artemis takes for something encrypted; and for a name with a comma, which parts names there.
    """

    name: str
    passcode: str = field(repr=False)
    roles: frozenset[Role]

    def __post_init__(self) -> None:
        for what, value in (("login", self.name), ("passcode", self.passcode)):
            if not value or value != value.strip() or not value.isprintable():
                raise ValueError(f"{what} must be printable characters, without spaces at the ends")
            if any(part in value for part in ("\\", "${", "#{", "ENC(")):
                raise ValueError(f"{what} must not hold a backslash, ${{, #{{ or ENC(")
        if "," in self.name:
            raise ValueError("login must not hold a comma")


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """Sizes in bytes: one frame, messages in memory, on disk, and spooled to disk.

    ``connections``: how many at once, on each connector. ``connect_timeout``: seconds that a client may be silent
    before it logs in; ``silence``: seconds for one that wants no heart-beats, on Artemis. That has no limit for a STOMP
    frame; ``store`` is for each queue there, what is spooled counts in it, and bodies of more than 100 KiB do not: they
    are files, until there are 256 MiB left on the disk.
    """

    max_frame: int = 4 * MIB
    memory: int = 128 * MIB
    store: int = 1024 * MIB
    temp: int = 256 * MIB
    connections: int = 1_000
    connect_timeout: int = 10
    silence: int = 60


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that goes into the broker's files; ``openwire_port`` is the one for JMS clients.

    ``worker_queues`` are the queues that workers may use, as names or ``prefix.>``; the default is all of them.
    Name them to keep workers from each other's queues and from the replies of jobs. ``address`` is where it listens.
    ``tcp_no_delay``: of the STOMP connector; a broker as it is delivered has it off. ``standby``: what it shares with
    a second broker that stands in for it, or that it stands in for.
    """

    stomp_port: int
    openwire_port: int
    logins: tuple[Login, ...]
    worker_queues: tuple[str, ...] = (">",)
    limits: BrokerLimits = field(default_factory=BrokerLimits)
    address: str = "127.0.0.1"
    tcp_no_delay: bool = True
    standby: Standby | None = None

    def __post_init__(self) -> None:
        for port in (self.stomp_port, self.openwire_port):
            if not 0 <= port <= 65535:
                raise ValueError(f"{port} is not a port")
        if self.stomp_port and self.stomp_port == self.openwire_port:
            raise ValueError("STOMP and JMS clients cannot share a port")
        for queue in self.worker_queues:
            if not _QUEUE_PATTERN.fullmatch(queue):
                raise ValueError(f"worker_queues: {queue!r} is neither a queue's name nor a 'prefix.>'")
        names = [login.name for login in self.logins]
        if len(set(names)) != len(names):
            raise ValueError("two logins have the same name")
