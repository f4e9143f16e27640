"""Puts one message in the place of another, whatever dies meanwhile."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from activemq.errors import ActiveMQError, ConnectionLostError
from activemq.frames import ack_headers
from activemq.frames import encode as encode_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activemq.client import Client
    from activemq.frames import Frame

    Encode = Callable[[Sequence[tuple[str, str]]], bytes]

MOVE_TIMEOUT: Final = 30.0  # seconds


async def move(client: Client, frame: Frame, generation: int, encode: Encode, what: str) -> None:
    """Acknowledge a message and send another in its place: both or neither, where the broker can.

    Where it cannot, the other is sent first: at the worst both are there for a moment, or for good if the ACK is lost
    and the broker knows nothing of :meth:`Profile.once`. ``encode`` gets headers to add and returns the SEND frame,
    without a receipt; ``what`` names the other message among those that may take the place of this one.

    Raises :class:`ServerError` if the broker refuses, :class:`ConnectionLostError` if the connection is not the
    message's any more, :class:`ReceiptTimeoutError` if it does not answer, and as :meth:`Client.publish`. The message
    is unacknowledged then; :meth:`Client.renew` gives it to somebody else.
    """
    if client.profile.acks_in_transactions:
        await _in_transaction(client, frame, generation, encode)
        return
    name = f"move-{secrets.token_hex(8)}"
    data = _with_receipt(encode(client.profile.once(frame, what)), name)
    _require(client, generation)
    await client.request_receipt(data, name, timeout=MOVE_TIMEOUT)
    if not client.ack(frame, generation):
        raise ConnectionLostError("the message's connection is gone")


async def _in_transaction(client: Client, frame: Frame, generation: int, encode: Encode) -> None:
    name = f"move-{secrets.token_hex(8)}"
    # Not all in one piece: if Classic has refused the SEND it still takes the ACK and the COMMIT (the message is
    # lost), or fails the COMMIT and keeps the message until the connection ends; which, depends on whether the
    # SEND asked for a receipt [6.3.1]. So it is asked first.
    send = _with_receipt(encode([("transaction", name)]), f"{name}-sent")
    _require(client, generation)
    try:
        await client.request_receipt(
            encode_frame("BEGIN", [("transaction", name)]) + send, f"{name}-sent", timeout=MOVE_TIMEOUT
        )
        _require(client, generation)
    except BaseException:
        if generation == client.generation:
            with suppress(ActiveMQError):  # with no connection there is no transaction either
                client.send(encode_frame("ABORT", [("transaction", name)]))
        raise
    ack = encode_frame("ACK", [*ack_headers(frame), ("transaction", name)])
    commit = encode_frame("COMMIT", [("transaction", name), ("receipt", name)])
    await client.request_receipt(ack + commit, name, timeout=MOVE_TIMEOUT)


def _with_receipt(send: bytes, receipt: str) -> bytes:
    return f"SEND\nreceipt:{receipt}\n".encode() + send.removeprefix(b"SEND\n")


def _require(client: Client, generation: int) -> None:
    if generation != client.generation:
        raise ConnectionLostError("the message's connection is gone")
