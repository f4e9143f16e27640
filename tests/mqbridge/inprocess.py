"""`mqbridge` commands in this process, and a bridge and workers of the demo for them."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any
from unittest.mock import patch

from bridge.settings import load
from consumers.demo import worker
from mqbridge.cli import main
from tests.bridge.callers import PATIENCE
from tests.bridge.harness import client_for, running

_ONE_AT_A_TIME = threading.Lock()  # they share sys.stdout


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it printed."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()


def run(*arguments: object, stdin: bytes = b"") -> Ran:
    """Run a command as the console script does."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    given = io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
    with (
        _ONE_AT_A_TIME,
        patch.multiple(sys, argv=["mqbridge", *map(str, arguments)], stdout=out, stderr=err, stdin=given),
    ):
        try:
            main()
            code: Any = 0
        except SystemExit as end:
            code = end.code
    out.flush()
    return Ran(code or 0, out.buffer.getvalue(), err.getvalue())  # type: ignore[attr-defined]  # a BytesIO


class Served:
    """A running bridge and its commands."""

    def __init__(self, bridge: Any) -> None:
        self.bridge = bridge
        self.url = f"http://127.0.0.1:{bridge.port}"

    async def run(self, *arguments: object, stdin: bytes = b"") -> Ran:
        """Run a command that takes ``--url``."""
        return await asyncio.to_thread(run, *arguments, "--url", self.url, stdin=stdin)


@asynccontextmanager
async def demo(broker: Any, folder: Any, more: str = ""):
    """The bridge of `mqbridge demo` and a worker of its; ``more``: of its file."""
    config = folder / "bridge.toml"
    config.write_text(
        f'[server]\nbind = ["127.0.0.1:0"]\n[broker]\nurls = ["{broker.stomp_url}"]\nlogin = "{broker.login}"\n'
        f'[store]\nurl = "sqlite:///{folder}/jobs.db"\n{more}'
        + resources.files("mqbridge.commands").joinpath("demo.toml").read_text()
    )
    settings = load(config, {"MQBRIDGE_BROKER__PASSCODE": broker.passcode})
    stop, ready = asyncio.Event(), asyncio.Event()
    working = asyncio.create_task(worker.run(client_for(broker), 4, stop, ready.set))
    try:
        async with asyncio.timeout(PATIENCE):
            await ready.wait()
        async with running(settings, "uvicorn") as served:
            yield Served(served)
    finally:
        stop.set()
        await working
