"""A worker process: an async handler that gives back what it was given."""

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


async def main() -> None:
    """Work until the parent is gone."""
    channel = Channel()
    broker = channel.configuration["broker"]
    client = Client([Server("127.0.0.1", broker["port"])], Credentials(broker["login"], broker["passcode"]))
    worker = Worker("bench")
    worker.handler("bench.echo")(echo)
    await worker.run(client, SLOTS, asyncio.Event(), lambda: channel.ready({}))


if __name__ == "__main__":
    loops.run(main())
