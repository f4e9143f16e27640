"""A worker process: an async handler that gives back what it was given, and one that never does."""

from __future__ import annotations

import asyncio

from activemq import Client, Credentials, Server
from bench.children import loops
from bench.children.channel import Channel
from consumers import Worker

SLOTS = 8


async def echo(body: bytes) -> bytes:
    """Do nothing, so that all that is measured is the way."""
    return body


async def hold(_: bytes) -> bytes:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def main() -> None:
    """Work until the parent is gone."""
    channel = Channel()
    broker = channel.configuration["broker"]
    client = Client([Server("127.0.0.1", broker["port"])], Credentials(broker["login"], broker["passcode"]))
    worker = Worker("bench")
    worker.handler("bench.echo")(echo)
    worker.handler("bench.hold")(hold)  # a call for which nobody is there would be refused
    await worker.run(client, SLOTS, asyncio.Event(), lambda: channel.ready({}))


if __name__ == "__main__":
    loops.run(main())
