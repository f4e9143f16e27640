"""`mqbridge demo`: everything at once on this machine, with requests that the reader can repeat."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from activemq.embedded import EmbeddedBroker
from activemq.errors import EmbeddedBrokerError
from mqbridge.commands.children import Child
from mqbridge.commands.showcase import show_all
from mqbridge.console import CommandError
from mqbridge.environment import PASSCODE, places
from mqbridge.lifetime import stop_signals

if TYPE_CHECKING:
    from collections.abc import Mapping

WORKERS = 2
SLOTS = 4


async def run_demo(*, once: bool, port: int) -> int:
    """Start all, show all, and stay up unless ``once``; return the exit code."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with stop_signals() as stop:
        demo = asyncio.create_task(_run(console, once=once, port=port, stop=stop))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([demo, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not demo.done():
            console.print("\nstopping …")
            demo.cancel()
        stopping.cancel()
        try:
            return await demo
        except asyncio.CancelledError:
            return 0


async def _run(console: Console, *, once: bool, port: int, stop: asyncio.Event) -> int:
    started = time.monotonic()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mqbridge-demo-")))
        broker = EmbeddedBroker(progress=lambda line: console.print(f"  {line}", markup=False), **places())
        try:
            await stack.enter_async_context(broker)
        except EmbeddedBrokerError as error:
            raise CommandError(str(error)) from error
        passcode = _write_passcode(folder, broker.passcode)
        console.print(f"broker   {broker.stomp_url}  (ActiveMQ, pid {broker.pid})")
        url = f"http://127.0.0.1:{_free_port(port)}"
        children = [_bridge(folder, broker, url), *(_worker(broker, passcode) for _ in range(WORKERS))]
        await asyncio.gather(*(stack.enter_async_context(child) for child in children))
        bridge, *workers = children
        console.print(f"bridge   {url}  (pid {bridge.pid})")
        console.print(f"workers  {', '.join(f'pid {worker.pid}' for worker in workers)}, {SLOTS} slots for each queue")
        console.print(f"all ready after {time.monotonic() - started:.1f} s\n")
        failed = await show_all(console, url, folder)
        if once:
            console.print("[green]all as expected[/]" if not failed else f"[red]{failed} not as expected[/]")
            return 1 if failed else 0
        _print_what_next(console, broker, passcode, workers[0])
        await _until_something_ends(children, stop)
        return 0


def _bridge(folder: Path, broker: EmbeddedBroker, url: str) -> Child:
    config = folder / "bridge.toml"
    config.write_text(
        f'[server]\nbind = ["{url.removeprefix("http://")}"]\n'
        f'[broker]\nurls = ["{broker.stomp_url}"]\nlogin = "{broker.login}"\n'
        + resources.files("mqbridge.commands").joinpath("demo.toml").read_text()
    )
    return Child("bridge", ["serve", "--config", str(config)], "ready on", _environment(broker))


def _worker(broker: EmbeddedBroker, passcode: Path) -> Child:
    options = ["--broker", broker.stomp_url, "--login", broker.login, "--passcode-file", str(passcode)]
    # Its log would repeat the failure that the demo shows on purpose.
    arguments = ["work", "consumers.demo:worker", *options, "--concurrency", str(SLOTS), "--log-level", "critical"]
    return Child("worker", arguments, "worker ready", _environment(broker))


def _environment(broker: EmbeddedBroker) -> Mapping[str, str]:
    return {**os.environ, PASSCODE: broker.passcode}


def _write_passcode(folder: Path, passcode: str) -> Path:
    path = folder / "passcode"
    path.touch(mode=0o600)
    path.write_text(passcode + "\n")
    return path


def _free_port(wanted: int) -> int:
    """Return the port that was asked for, or a free one if it is taken."""
    for port in (wanted, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(sock.getsockname()[1])
    raise CommandError("there is no free port on 127.0.0.1")


def _print_what_next(console: Console, broker: EmbeddedBroker, passcode: Path, worker: Child) -> None:
    installed = Path(sys.executable).with_name("mqbridge")
    program = str(installed) if installed.exists() else f"{sys.executable} -m mqbridge"
    command = f"{program} work consumers.demo:worker"
    console.print("Still running. In a second terminal, repeat any of these, or:")
    console.print(f"  kill -9 {worker.pid}   # a worker dies: the other one goes on", markup=False)
    options = f"--broker {broker.stomp_url} --login {broker.login} --passcode-file {passcode}"
    console.print(f"  {command} {options}   # one more worker", markup=False)
    console.print("Ctrl-C stops all.")


async def _until_something_ends(children: list[Child], stop: asyncio.Event) -> None:
    """Wait for the signal; the bridge's end is the end, a worker's is what the reader may be trying."""
    bridge_ended = asyncio.create_task(children[0].wait())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([bridge_ended, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    bridge_ended.cancel()
    if not stop.is_set():
        raise CommandError("the bridge ended by itself")
