"""What the broker is told: users, rights, limits and ports, rendered for each start.

Three roles with the least rights that the message contract needs:

* ``worker``: reads and writes its queues and their ``.poison``, writes replies (temporary queues and
  ``bridge.replies.>``), has temporary queues of its own (the clock's echo), reads the topic ``bridge.cancel``.
* ``bridge``: all queues, temporary queues of its own, the topics ``bridge.>``, and the advisories.
* ``admin``: everything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from importlib import resources
from string import Template
from xml.sax.saxutils import quoteattr

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
    (ActiveMQ and STOMP 1.2 differ on what it means in CONNECT), or ``${`` or ``#{``, which Spring would evaluate.
    """

    name: str
    passcode: str = field(repr=False)
    roles: frozenset[Role]

    def __post_init__(self) -> None:
        for what, value in (("login", self.name), ("passcode", self.passcode)):
            if not value or value != value.strip() or not value.isprintable():
                raise ValueError(f"{what} must be printable characters, without spaces at the ends")
            if any(part in value for part in ("\\", "${", "#{")):
                raise ValueError(f"{what} must not hold a backslash, ${{ or #{{")


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """Sizes in bytes: one frame, messages in memory, on disk, and spooled to disk."""

    max_frame: int = 4 * MIB
    memory: int = 128 * MIB
    store: int = 1024 * MIB
    temp: int = 256 * MIB


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that goes into ``activemq.xml``.

    ``worker_queues`` are the queues that workers may use, as names or ``prefix.>``; the default is all of them.
    Name them to keep workers from each other's queues and from the replies of jobs. ``address`` is where it listens.
    """

    stomp_port: int
    openwire_port: int
    logins: tuple[Login, ...]
    worker_queues: tuple[str, ...] = (">",)
    limits: BrokerLimits = field(default_factory=BrokerLimits)
    address: str = "127.0.0.1"

    def __post_init__(self) -> None:
        for port in (self.stomp_port, self.openwire_port):
            if not 0 <= port <= 65535:
                raise ValueError(f"{port} is not a port")
        if self.stomp_port and self.stomp_port == self.openwire_port:
            raise ValueError("STOMP and OpenWire cannot share a port")
        for queue in self.worker_queues:
            if not _QUEUE_PATTERN.fullmatch(queue):
                raise ValueError(f"worker_queues: {queue!r} is neither a queue's name nor a 'prefix.>'")
        names = [login.name for login in self.logins]
        if len(set(names)) != len(names):
            raise ValueError("two logins have the same name")


def render(configuration: Configuration) -> str:
    """Return the text of ``activemq.xml`` for a broker whose working directory is its data folder."""
    template = resources.files(__package__ or __name__).joinpath("classic-activemq.xml")
    limits = configuration.limits
    return Template(template.read_text("utf-8")).substitute(
        users="\n".join(_user(login) for login in configuration.logins),
        worker_queues="\n".join(_worker_queue(queue) for queue in configuration.worker_queues),
        memory_limit=limits.memory,
        store_limit=limits.store,
        temp_limit=limits.temp,
        max_frame=limits.max_frame,
        address=configuration.address,
        stomp_port=configuration.stomp_port,
        openwire_port=configuration.openwire_port,
    )


def _user(login: Login) -> str:
    groups = ",".join(sorted(role.value for role in login.roles))
    return (
        f"          <authenticationUser username={quoteattr(login.name)} "
        f"password={quoteattr(login.passcode)} groups={quoteattr(groups)}/>"
    )


def _worker_queue(queue: str) -> str:
    names = (queue,) if queue.endswith(">") else (queue, f"{queue}.poison")
    return "\n".join(
        f'              <authorizationEntry queue={quoteattr(name)} read="workers" write="workers" admin="workers"/>'
        for name in names
    )
