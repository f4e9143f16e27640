"""Bridges as processes of their own, to be killed without a word."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

from activemq.frames import encode
from tests.bridge.callers import PATIENCE, call
from tests.bridge.harness import all_of, client_for
from tests.databases import free_port


class Process:
    """`mqbridge serve` on a port of its own, as a process that is killed without a word.

    ``broker`` may be a pair; ``store``: the URL; ``server``, ``broker_lines`` and ``route``: more lines of the tables;
    ``tables``: further ones; ``program``: a module that is `mqbridge` and more; ``environ``: more of the environment.
    """

    def __init__(
        self, broker: Any, folder: Any, queue: str, name: str,
        *, host: str = "127.0.0.1", port: int = 0, store: str = "sqlite:///jobs.db", server: str = "",
        route: str = "", broker_lines: str = "", tables: str = "", publish_timeout: str = "500ms",
        program: str = "mqbridge", environ: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.host = host
        self.port = port or free_port()
        self._log = folder / f"{name}.log"
        secrets = {"MQBRIDGE_BROKER__PASSCODE": broker.passcode, "MQBRIDGE_STORE__URL": store}
        self._environ = {**os.environ, **secrets, **(environ or {})}
        self._program = program
        self._config = folder / f"{name}.toml"
        urls = list(broker.urls) if hasattr(broker, "urls") else [broker.stomp_url]
        self._config.write_text(
            f'[server]\nbind = ["{host}:{self.port}"]\n{server}'
            f'[broker]\nurls = {json.dumps(urls)}\nlogin = "{broker.login}"\n{broker_lines}'
            f'publish_timeout = "{publish_timeout}"\n'
            f'[[route]]\nname = "echo"\npath = "/echo"\nqueue = "{queue}"\ntimeout = "20s"\n{route}{tables}'
        )
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - killed from plain code too
                [sys.executable, "-m", self._program, "serve", "--config", str(self._config)],
                env=self._environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        async with asyncio.timeout(3 * PATIENCE):
            while not await self._is_ready():
                assert self._process.poll() is None, self._log.read_text()[-2_000:]
                await asyncio.sleep(0.05)

    async def _is_ready(self) -> bool:
        try:
            return (await call(self.port, "/-/ready", None, method="GET", address=self.host)).status == 200
        except (OSError, EOFError):
            return False

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def exit_code(self, within: float) -> int:
        """Wait until it ends by itself."""
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, within)

    def ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


class Echo:
    """A worker that answers after so many seconds, and counts what it was given."""

    def __init__(self, broker: Any, queue: str, after: float = 0.0) -> None:
        self.ran: Counter[str] = Counter()
        self._after = after
        self.client = client_for(broker)
        self.client.subscribe(all_of(queue), self._take)

    def _take(self, frame: Any) -> None:
        self.ran[frame.body.decode()] += 1
        headers = [("destination", frame.get("reply-to")), ("correlation-id", frame.get("correlation-id"))]
        reply = encode("SEND", [*headers, ("persistent", "true")], b"echo " + frame.body)
        asyncio.get_running_loop().call_later(self._after, self.client.send, reply)
