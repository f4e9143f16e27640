"""Reads along on connections between clients and a broker, and writes down what the checker has to know. No I/O.

It sees the wire as it is: what a worker or a bridge says of itself is not asked.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Protocol
from zlib import crc32

from activemq.errors import RemoteProtocolError
from activemq.frames import CLIENT_COMMANDS
from activemq.parser import Parser
from tests.faults.history import NONE, Acked, Delivered, Published, Receipt, Record, Sent, Spoilt, Told, now

if TYPE_CHECKING:
    from collections.abc import Callable

    from activemq import Frame

NONCE = re.compile(rb"(n-[0-9a-z]+-[0-9]+-[0-9]+)-([0-9a-f]{8})")
CANCEL = "bridge.cancel"


def sealed(name: str) -> str:
    """A nonce: with a checksum, since one whose bits were flipped could be another call's."""
    return f"{name}-{crc32(name.encode()):08x}"


def nonce_in(body: bytes) -> str:
    """The nonce in a body of ours, or a dash."""
    found = NONCE.search(body)
    return found[0].decode() if found and crc32(found[1]) == int(found[2], 16) else NONE


class Recorder(Protocol):
    """One connection."""

    def from_client(self, data: bytes) -> None: ...
    def from_broker(self, data: bytes) -> None: ...
    def spoil(self) -> None: ...


class NoRecorder:
    """For connections on which nothing is to be read."""

    def from_client(self, data: bytes) -> None:
        """Do nothing."""

    def from_broker(self, data: bytes) -> None:
        """Do nothing."""

    def spoil(self) -> None:
        """Do nothing."""


class _Reader:
    """Frames of one connection, both ways, until it is spoilt."""

    def __init__(self, link: str, tell: Callable[[Record], None], number: int) -> None:
        self.link = link
        self.number = number
        self.tell = tell
        self._client = Parser(commands=CLIENT_COMMANDS)
        self._broker = Parser()
        self._spoilt = False
        self.messages = 0  # to queues, or of withdrawals, that the client has sent

    def spoil(self) -> None:
        """From now on what one side sends is not what the other gets."""
        if not self._spoilt:
            self._spoilt = True
            self.tell(Spoilt(now(), self.number))

    def _read(self, parser: Parser, data: bytes) -> list[Frame]:
        if self._spoilt:
            return []
        try:
            frames = parser.feed(data)
        except RemoteProtocolError:
            self.spoil()
            return []
        for frame in frames:
            if frame.command == "CONNECTED":
                self._client.version = self._broker.version = frame.get("version") or "1.0"
        return frames


class BridgeRecorder(_Reader):
    """A bridge's connection: what it publishes."""

    def from_client(self, data: bytes) -> None:
        for frame in self._read(self._client, data):
            if frame.command != "SEND":
                continue
            destination = frame.get("destination") or ""
            self.messages += "/queue/" in destination or CANCEL in destination
            if (nonce := nonce_in(frame.body)) != NONE:
                self.tell(Published(nonce, now(), self.link, frame.raw("correlation-id") or NONE))

    def from_broker(self, data: bytes) -> None:
        """What comes to a bridge is told by its callers."""


class WorkerRecorder(_Reader):
    """A worker's connection: deliveries, replies, receipts and acknowledgements."""

    def __init__(self, link: str, tell: Callable[[Record], None], number: int) -> None:
        super().__init__(link, tell, number)
        self._seats: dict[str, str] = {}
        self._open: dict[str, str] = {}  # what is not acknowledged: the seat that has it
        self._subscribed = itertools.count(1)
        self._queues: set[str] = set()
        self._reply_receipts: set[str] = set()
        self.on_reply_receipt: Callable[[], None] | None = None

    @property
    def unacknowledged(self) -> int:
        """How many messages its worker has."""
        return len(self._open)

    def from_client(self, data: bytes) -> None:
        for frame in self._read(self._client, data):
            if frame.command == "ACK":
                self._ack(frame)
            elif frame.command == "SEND":
                self._send(frame)
            elif frame.command == "SUBSCRIBE" and frame.get("ack") == "client-individual":
                name = frame.raw("id") or NONE
                self._seats[name] = f"{self.number}/{name}/{next(self._subscribed)}"
                self._queues.add(frame.get("destination") or NONE)

    def from_broker(self, data: bytes) -> None:
        for frame in self._read(self._broker, data):
            if frame.command == "MESSAGE":
                self._message(frame)
            elif frame.command in ("RECEIPT", "ERROR") and (receipt := frame.raw("receipt-id")) is not None:
                self.tell(Receipt(now(), self.number, receipt, frame.command))
                if receipt in self._reply_receipts:
                    self._reply_receipts.discard(receipt)
                    if self.on_reply_receipt is not None:
                        self.on_reply_receipt()

    def _message(self, frame: Frame) -> None:
        name = frame.raw("subscription") or NONE
        seat, call = self._seats.get(name), frame.raw("correlation-id") or NONE
        if seat is not None and call != NONE:  # not the clock's echo
            ack = frame.raw("ack") or frame.raw("message-id") or NONE
            self._open[ack] = seat
            deadline = int(frame.raw("deadline_ms") or "0")
            self.tell(Delivered(nonce_in(frame.body), now(), self.link, seat, self.number, ack, call, deadline))
        elif CANCEL in (frame.get("destination") or ""):
            self.tell(Told(now(), self.link, call))

    def _ack(self, frame: Frame) -> None:
        ack = frame.raw("id") or frame.raw("message-id") or NONE
        seat = self._open.pop(ack, NONE)
        self.tell(Acked(now(), seat, self.number, ack, frame.raw("transaction") or NONE))

    def _send(self, frame: Frame) -> None:
        call = frame.raw("correlation-id")
        if call is None:
            return  # the clock's echo
        receipt = frame.raw("receipt") or NONE
        if (frame.raw("reply_kind") or "final") != "final":
            kind = "notice"
        elif frame.get("destination") in self._queues:
            kind = "copy"
        else:
            kind = "reply"
            self._reply_receipts.add(receipt)
        transaction = frame.raw("transaction") or NONE
        self.tell(Sent(nonce_in(frame.body), now(), self.link, self.number, receipt, call, kind, transaction))
