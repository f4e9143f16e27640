"""Tells workers that a call is over, so that nobody works for a caller who has left."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from activemq.contract import CANCEL_TOPIC
from activemq.errors import ActiveMQError
from activemq.message import encode_cancel

if TYPE_CHECKING:
    from activemq import Client


class Withdrawals:
    """Best effort: whoever misses it (a plain JMS worker) has the message's expiry."""

    def __init__(self, client: Client) -> None:
        """``client``: not the held calls' own connection, which must never wait for a topic's slow readers."""
        self._client = client
        self.sent = 0

    def withdraw(self, correlation_id: str) -> None:
        """Say that the call is over; nothing happens while there is no connection."""
        with suppress(ActiveMQError):
            client = self._client
            client.send(encode_cancel(client.profile.topic(CANCEL_TOPIC), correlation_id))
            self.sent += 1
