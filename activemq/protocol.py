"""The client's side of a STOMP 1.2 connection as a state machine. No I/O, no clock of its own.

``receive_data()`` turns bytes into frames that are legal at this moment; commands queue bytes that ``data_to_send()``
hands out. Times are seconds of whatever monotonic clock the caller uses, given with each call that needs one.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from activemq.errors import LocalProtocolError, RemoteProtocolError
from activemq.frames import Frame, Limits, encode
from activemq.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSIONS: Final = "1.2,1.1"

# ActiveMQ closes a silent client after the very interval it was told (hbGracePeriodMultiplier 1.0): be early.
SEND_EARLY: Final = 0.5
# Its own first beat comes only after twice the interval [measured on Classic 6.3.1]: be patient.
PATIENCE: Final = 2.5


class State(enum.Enum):
    """Where a connection is in its life."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTING = "disconnecting"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to the broker. ``host`` is the virtual host: RabbitMQ wants ``/``, ActiveMQ takes any.

    ``where``: where people set login and passcode, for the message of a refusal; empty: it does not say.
    """

    login: str | None = None
    passcode: str | None = field(default=None, repr=False)
    host: str = "/"
    where: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Refuse what a CONNECT frame cannot carry: STOMP 1.2 has no escapes there."""
        for name in ("login", "passcode", "host"):
            if any(char in (getattr(self, name) or "") for char in "\r\n\0"):
                raise ValueError(f"{name} must be one line, without NUL")


class Stomp:
    """One connection, from CONNECT to its end.

    ``heartbeat`` is the interval in seconds offered in both directions; 0 offers none. ``versions``: of STOMP, those
    to offer.
    """

    def __init__(
        self,
        credentials: Credentials | None = None,
        heartbeat: float = 10.0,
        limits: Limits | None = None,
        versions: str = VERSIONS,
    ) -> None:
        self.state = State.NEW
        self.server = ""  # the CONNECTED frame's `server`, e.g. "ActiveMQ/6.3.1"
        self.send_every = 0.0  # seconds; 0: no beats are due from us
        self.expect_every = 0.0  # seconds; 0: the broker promised none
        self.credentials = credentials or Credentials()
        self._heartbeat = round(heartbeat * 1_000)
        self._versions = versions
        self._parser = Parser(limits)
        self._out: list[bytes] = []
        self._last_sent = 0.0
        self._last_received = 0.0

    @property
    def version(self) -> str:
        """The negotiated STOMP version, once connected."""
        return self._parser.version

    def connect(self, now: float) -> None:
        """Queue the CONNECT frame."""
        self._require(State.NEW)
        self.state = State.CONNECTING
        self._last_sent = self._last_received = now
        who = self.credentials
        headers = [("accept-version", self._versions), ("host", who.host)]
        headers.append(("heart-beat", f"{self._heartbeat},{self._heartbeat}"))
        if who.login is not None:
            headers.append(("login", who.login))
        if who.passcode is not None:
            headers.append(("passcode", who.passcode))
        self._out.append(encode("CONNECT", headers))

    def send(self, data: bytes) -> None:
        """Queue one whole encoded frame; raises :class:`LocalProtocolError` unless connected."""
        if self.state is not State.CONNECTED:
            self._require(State.CONNECTED)
        self._out.append(data)

    def command(self, command: str, headers: Iterable[tuple[str, str]], body: bytes = b"") -> None:
        """Encode and queue a frame."""
        self.send(encode(command, headers, body))

    def disconnect(self, receipt: str) -> None:
        """Queue DISCONNECT; the connection is over when its receipt comes."""
        self.command("DISCONNECT", [("receipt", receipt)])
        self.state = State.DISCONNECTING

    def data_to_send(self, now: float) -> bytes:
        """Hand out all that is queued, as one piece; empty if nothing is."""
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._last_sent = now
        return data

    def receive_data(self, data: bytes, now: float) -> list[Frame]:
        """Take what was received; return its frames.

        Raises :class:`RemoteProtocolError` for bytes that are not STOMP or frames that are out of order; the
        connection is closed then. An ERROR is a frame like any other: what it means is for the caller to say.
        """
        self._last_received = now
        try:
            frames = self._parser.feed(data)
            if self.state is not State.CONNECTED:
                for frame in frames:
                    self._advance(frame)
        except RemoteProtocolError:
            self.state = State.CLOSED
            raise
        return frames

    def heartbeat(self, now: float) -> bool:
        """Queue a beat if one is due; return False if the broker has been silent for too long."""
        if self.state is not State.CONNECTED:
            return True
        if self.expect_every and now - self._last_received > self.expect_every * PATIENCE:
            return False
        if self.send_every and now - self._last_sent >= self.send_every * SEND_EARLY:
            self._out.append(b"\n")
        return True

    @property
    def heartbeat_pause(self) -> float:
        """How long to wait between two calls of :meth:`heartbeat`, in seconds; 0: no need to call it."""
        return min((t for t in (self.send_every, self.expect_every) if t), default=0.0) / 4

    def _require(self, state: State) -> None:
        if self.state is not state:
            raise LocalProtocolError(f"the connection is {self.state.value}, not {state.value}")

    def _advance(self, frame: Frame) -> None:
        if self.state is State.CONNECTING:
            if frame.command == "CONNECTED":
                self._connected(frame)
            elif frame.command == "ERROR":
                self.state = State.CLOSED
            else:
                raise RemoteProtocolError(f"{frame.command} before CONNECTED")
        elif self.state in (State.NEW, State.CLOSED):
            raise RemoteProtocolError(f"{frame.command} on a connection that is {self.state.value}")

    def _connected(self, frame: Frame) -> None:
        version = frame.get("version") or "1.0"
        if version not in self._versions.split(","):
            raise RemoteProtocolError(f"the broker speaks STOMP {version[:20]!r}, which was not offered")
        self._parser.version = version
        self.server = frame.get("server") or ""
        theirs_out, theirs_in = _heart_beat(frame.get("heart-beat") or "0,0")
        # STOMP 1.2, "Heart-beating": the larger of what one side can do and the other wants; 0 on either side: none.
        self.send_every = max(self._heartbeat, theirs_in) / 1_000 if self._heartbeat and theirs_in else 0.0
        self.expect_every = max(self._heartbeat, theirs_out) / 1_000 if self._heartbeat and theirs_out else 0.0
        self.state = State.CONNECTED


def _heart_beat(value: str) -> tuple[int, int]:
    out, _, wanted = value.partition(",")
    if not (out.isascii() and out.isdigit() and wanted.isascii() and wanted.isdigit() and len(value) < 24):
        raise RemoteProtocolError(f"not a heart-beat header: {value[:40]!r}")
    return int(out), int(wanted)
