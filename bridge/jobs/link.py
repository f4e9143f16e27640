"""The jobs' connection to the broker: request messages out, replies of any bridge's jobs in, word to the others."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Final

from activemq import RequestEncoder
from activemq.errors import ActiveMQError
from activemq.frames import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from activemq import Client, Frame
    from bridge.jobs.model import Job, Request

# How many replies may be on their way into the store. Enough to fill a transaction; few enough that replies of
# `max_reply` bytes do not fill the memory.
PREFETCH: Final = 64
REPLIES: Final = "bridge.replies."
WAKE: Final = "bridge.wake."
_MOST_IDS: Final = 500  # in one wake message


class JobLink:
    """Speaks for one store at the broker. ``on_reply``, ``on_wake`` and ``on_word`` are called on the loop.

    ``on_wake`` gets ids of jobs that have changed, ``on_word`` what one bridge says to all others: a word and two ids.
    """

    def __init__(
        self,
        client: Client,
        store_id: str,
        on_reply: Callable[[Frame], None],
        on_wake: Callable[[list[str]], None],
        on_word: Callable[[str, str, str], None],
    ) -> None:
        self.client = client
        self._replies = REPLIES + store_id
        self._topic = WAKE + store_id
        self._on_wake = on_wake
        self._on_word = on_word
        self._encoders: dict[tuple[str, str], RequestEncoder] = {}
        self._to_wake: list[str] = []
        self._receipts = count(1)
        client.subscribe(lambda profile: profile.consume(self._replies, PREFETCH), on_reply, name="job-replies")
        client.subscribe(
            lambda profile: {"destination": profile.topic(self._topic), "ack": "auto"}, self._heard, name="job-wake"
        )

    def publish(self, job: Job, request: Request, on_receipt: Callable[[str, Exception | None], None]) -> None:
        """Send a job's request message.

        ``on_receipt`` gets the job's id and None, or why the broker did not confirm. Raises, with nothing sent,
        :class:`NotConnectedError`, :class:`BufferFullError` or :class:`LocalProtocolError`.
        """
        client = self.client
        now_ms = client.clock.now_ms()
        budget_ms = max(0, job.deadline_ms - now_ms)
        data = self._encoder(request.queue, job.route).encode(
            job.id,
            client.profile.expiry(job.deadline_ms, budget_ms),
            job.deadline_ms,
            budget_ms,
            request.priority,
            request.properties,
            request.body,
            text=request.text,
        )
        client.publish(data, job.id, on_receipt)

    def wake(self, job_id: str) -> None:
        """Tell all bridges of the store that a job has changed; those of one turn of the loop go together."""
        if not self._to_wake:
            asyncio.get_running_loop().call_soon(self._send_wake)
        self._to_wake.append(job_id)

    def say(self, word: str, to: str, by: str) -> None:
        """Say a word to all bridges of the store that are connected to this broker."""
        self._send([("word", word), ("to", to), ("by", by)], b"")

    def _send_wake(self) -> None:
        ids, self._to_wake = self._to_wake, []
        for start in range(0, len(ids), _MOST_IDS):
            self._send([], "\n".join(ids[start : start + _MOST_IDS]).encode())

    def _send(self, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        # With a receipt: a broker that is short of memory would stop the whole connection for a SEND without one.
        receipt = f"wake-{next(self._receipts)}"
        with suppress(ActiveMQError):  # the others look into the store every second anyway
            fields = [("destination", self.client.profile.topic(self._topic)), ("receipt", receipt), *headers]
            self.client.publish(encode("SEND", fields, body), receipt, lambda _receipt, _error: None)

    def _heard(self, frame: Frame) -> None:
        word = frame.raw("word")
        if word is not None:
            self._on_word(word, frame.raw("to") or "", frame.raw("by") or "")
        else:
            self._on_wake(frame.body.decode("ascii", "replace").split("\n"))

    def _encoder(self, queue: str, route: str) -> RequestEncoder:
        known = self._encoders.get((queue, route))
        if known is None:
            profile = self.client.profile
            known = self._encoders[queue, route] = RequestEncoder(
                destination=profile.queue(queue),
                reply_to=profile.durable_reply_to(self._replies),
                route=route,
                persistent=True,
                media_type_header=profile.media_type_header,
            )
        return known

    def forget_profile(self) -> None:
        """Make the frames' unchanging parts anew: the next broker may be of another kind."""
        self._encoders.clear()
