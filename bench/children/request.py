"""The limit: request and reply through the same broker and the same workers, with no HTTP and no held call.

No receipt is asked for, no property is set, no task is made: less than this no requester on our client can do.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING

from activemq import Client, Credentials, Server
from activemq import connection as activemq_connection
from bench.children import loops
from bench.children.channel import Channel
from bench.latency import Load, summary

if TYPE_CHECKING:
    from activemq import Frame


class Requester:
    """A closed loop: each reply sends the next request."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._latencies: list[float] = []
        self._sent_at: dict[str, float] = {}
        self._next = 0
        self._receipts = False
        self._options = b""
        self._body = b""
        self._finished: asyncio.Future[None] | None = None
        self._stopping = False
        client.subscribe(lambda profile: profile.replies("limit"), self._on_reply)

    async def run(
        self, in_flight: int, size: int, seconds: float, receipts: bool = False, persistent: bool = False
    ) -> Load:
        """Keep ``in_flight`` requests of ``size`` bytes going for ``seconds``."""
        loop = asyncio.get_running_loop()
        self._latencies, self._sent_at, self._stopping = [], {}, False
        self._body, self._receipts = b"x" * size, receipts
        self._options = b"persistent:true\n" if persistent else b""
        self._finished = loop.create_future()
        started = perf_counter()
        for _ in range(in_flight):
            self._send()
        loop.call_later(seconds, self._stop)
        await self._finished
        return summary(self._latencies, perf_counter() - started)

    def _stop(self) -> None:
        self._stopping = True

    def _send(self) -> None:
        correlation_id = f"{self._next}"
        self._next += 1
        self._sent_at[correlation_id] = perf_counter()
        receipt = b"receipt:%b\n" % correlation_id.encode() if self._receipts else b""
        receipt += self._options
        head = b"SEND\ndestination:/queue/bench.echo\nreply-to:/temp-queue/limit\ncorrelation-id:"
        self._client.send(b"%b%b\n%b\n%b\0" % (head, correlation_id.encode(), receipt, self._body))

    def _on_reply(self, frame: Frame) -> None:
        assert frame.body == self._body
        self._latencies.append(perf_counter() - self._sent_at.pop(frame.get("correlation-id") or ""))
        if not self._stopping:
            self._send()
        elif not self._sent_at and self._finished is not None and not self._finished.done():
            self._finished.set_result(None)


async def main() -> None:
    """Request on command until the parent is gone."""
    channel = Channel()
    broker = channel.configuration["broker"]
    if not channel.configuration.get("quick_ack", True):
        setattr(activemq_connection, "_QUICKACK", None)  # noqa: B010 - what any other client would see
    client = Client([Server("127.0.0.1", broker["port"])], Credentials(broker["login"], broker["passcode"]))
    requester = Requester(client)
    async with client:
        await client.wait_connected()
        channel.ready({"run": requester.run})
        await asyncio.Event().wait()


if __name__ == "__main__":
    loops.run(main())
