"""A broker and the processes around it, for as long as a part needs them."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

from activemq.embedded import EmbeddedBroker
from activemq.embedded.configuration import Login, Role
from bench.child import Child
from bench.children.work import SLOTS
from bench.program import Program

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMITED = Login("limited", secrets.token_urlsafe(24), frozenset({Role.WORKER}))


class Stage:
    """``async with Stage() as stage``: a broker, started; at the end everything is stopped, whatever happened.

    ``quick``: Java without its second compiler, ready sooner and slower under load. ``stock``: as most brokers are,
    without ``tcpNoDelay`` on its connectors.
    """

    def __init__(self, *, quick: bool = False, stock: bool = False) -> None:
        self.broker = EmbeddedBroker(
            quick=quick,
            tcp_no_delay=not stock,
            other_logins=[LIMITED],
            java_home=os.environ.get("JAVA_HOME"),
            java_path=os.environ.get("PATH"),
        )
        self._folder = TemporaryDirectory(prefix="bench-")
        self._children: list[Child | Program] = []

    async def __aenter__(self) -> Self:
        try:
            await self.start_broker()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await asyncio.gather(*(child.stop() for child in self._children))
        finally:
            await self._close()

    async def _close(self) -> None:
        await self.broker.close()
        self._folder.cleanup()

    async def start_broker(self) -> None:
        """Start the broker, also again after its end."""
        await self.broker.start()

    async def serve(
        self, what: str, implementation: str, *, routes: str = "usual", limited: bool = False, traced: bool = False
    ) -> Child:
        """Start a ``bridge`` or a ``null`` on one of the HTTP servers.

        ``routes``: which of the sets in ``children/serve.py``; ``limited``: with a worker's login, which may not see
        who listens; ``traced``: each call is traced, and its spans are thrown away in batches.
        """
        store = f"{self._folder.name}/{len(self._children)}.db"
        login = {"login": LIMITED.name, "passcode": LIMITED.passcode} if limited else {}
        own = {"implementation": implementation, "store": store, "routes": routes, "traced": traced}
        return await self._child("serve", login, what=what, **own)

    async def work(self) -> Child:
        """Start a worker process."""
        return await self._child("work")

    async def requester(self, *, quick_ack: bool = True) -> Child:
        """Start a requester without HTTP."""
        return await self._child("request", quick_ack=quick_ack)

    async def crowd(self) -> Child:
        """Start a process of callers that wait."""
        return await self._child("hold")

    async def flood(self) -> Child:
        """Start a process of callers that do not wait."""
        return await self._child("overload")

    async def bridge(self, processes: int) -> Program:
        """Start `mqbridge serve` with that many processes."""
        file = Path(self._folder.name) / f"{len(self._children)}.toml"
        file.write_text(
            f'[server]\nbind = ["127.0.0.1:0"]\n[broker]\nurls = ["{self.broker.stomp_url}"]\n'
            f'login = "{self.broker.login}"\n[store]\nurl = "sqlite:///{file.stem}.db"\n'
            '[[route]]\nname = "echo"\npath = "/echo"\nqueue = "bench.echo"\n'
        )
        environ = {"MQBRIDGE_BROKER__PASSCODE": self.broker.passcode}
        options = "--config", str(file), "--processes", str(processes)
        return self._keep(await Program.start("serve", *options, environ=environ))

    async def direct(self) -> Program:
        """Start a worker that is served without a bridge."""
        options = "--http", "127.0.0.1:0", "--concurrency", str(SLOTS)
        return self._keep(await Program.start("work", "bench.children.direct:worker", *options, environ={}))

    def _keep(self, program: Program) -> Program:
        self._children.append(program)
        return program

    async def _child(self, name: str, login: Mapping[str, str] | None = None, **configuration: object) -> Child:
        broker = {"port": self.broker.stomp_port, "login": self.broker.login, "passcode": self.broker.passcode}
        child = await Child.start(name, broker={**broker, **(login or {})}, **configuration)
        self._children.append(child)
        return child
