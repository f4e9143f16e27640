"""Tells requesters that a worker has begun, where they asked for it.

A bridge that asks for it "late" hears of jobs that take longer than a moment only: then a deadline can say `running`,
and the thousands of short ones cost nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from activemq.errors import ActiveMQError, MessageError, ProtocolError
from activemq.message import encode_notice

if TYPE_CHECKING:
    from activemq import Client
    from activemq.message import RequestMessage

TICK: Final = 0.025  # seconds


@dataclass(eq=False, slots=True)
class Running:
    """A job that runs and whose requester wants to know; made by :meth:`Started.begin`."""

    message: RequestMessage
    generation: int
    began: float  # the loop's time, seconds

    @property
    def delay(self) -> float:
        """How long it may take without anybody's being told; seconds."""
        try:
            return (self.message.number("started_after_ms") or 0) / 1_000
        except (MessageError, ProtocolError):
            return 0.0


class Started:
    """The jobs that have not been told of yet: one timer for all of them."""

    def __init__(self, client: Client, name: str) -> None:
        """``name``: the worker's."""
        self._client = client
        self._name = name
        self._waiting: dict[Running, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, message: RequestMessage, generation: int) -> Running | None:
        """Tell now, or remember to tell; give what is returned to :meth:`end`.

        Of a message that can wait nothing else is read before the tick: most jobs are over by then.
        """
        loop = asyncio.get_running_loop()
        running = Running(message, generation, loop.time())
        if message.frame.raw("started_after_ms") in (None, "0"):
            self._tell(running)
            return None
        self._waiting[running] = None
        if self._timer is None:
            self._timer = loop.call_later(TICK, self._tick)
        return running

    def end(self, running: Running | None) -> None:
        """Forget a job that has ended."""
        if running is not None:
            self._waiting.pop(running, None)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for running in [running for running in self._waiting if running.began + running.delay <= now]:
            del self._waiting[running]
            self._tell(running)
        self._timer = loop.call_later(TICK, self._tick) if self._waiting else None

    def _tell(self, running: Running) -> None:
        message = running.message
        if "started" not in message.reply_kinds or message.reply_to is None:
            return
        if running.generation != self._client.generation:
            return
        with suppress(ActiveMQError):  # it is a courtesy; the reply and its ACK matter
            self._client.send(encode_notice(message, "started", 0, [("worker", self._name)]))
