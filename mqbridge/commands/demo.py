"""`mqbridge demo`: everything at once on this machine, with requests that the reader can repeat."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import httpx
from rich.console import Console

from activemq.embedded import EmbeddedBroker, Login, Role
from activemq.errors import EmbeddedBrokerError
from mqbridge.commands.children import Child
from mqbridge.commands.key import make_key
from mqbridge.commands.showcase import show_all
from mqbridge.console import CommandError
from mqbridge.environment import PASSCODE, places
from mqbridge.lifetime import stop_signals
from mqbridge.progress import Progress

WORKERS = 2
SLOTS = 4
PAGE = Path("examples/browser")  # its port is in demo.toml


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
        worker = Login("worker", secrets.token_urlsafe(24), frozenset({Role.WORKER}))
        broker = EmbeddedBroker(
            roles=frozenset({Role.BRIDGE}),
            other_logins=[worker],
            worker_queues=["demo.>"],
            progress=lambda line: console.print(f"  {line}", markup=False),
            **places(),
        )
        try:
            with Progress("starting a broker"):
                await stack.enter_async_context(broker)
        except EmbeddedBrokerError as error:
            raise CommandError(str(error)) from error
        passcode = _write_secret(folder / "worker-passcode", worker.passcode)
        url = f"http://127.0.0.1:{_free_port(port)}"
        key, key_sha256 = make_key()
        operator = Operator(url, _write_secret(folder / "admin-key", key))
        console.print(f"broker   {broker.stomp_url}  (ActiveMQ, pid {broker.pid})")
        children = [_bridge(folder, broker, url, key_sha256), *(_worker(broker, passcode) for _ in range(WORKERS))]
        with Progress("starting a bridge and workers"):
            await asyncio.gather(*(stack.enter_async_context(child) for child in children))
        bridge, *workers = children
        console.print(f"bridge   {url}  (pid {bridge.pid})")
        console.print(f"workers  {', '.join(f'pid {worker.pid}' for worker in workers)}, {SLOTS} slots for each queue")
        console.print(f"all ready after {time.monotonic() - started:.1f} s\n")
        failed = await show_all(console, url, folder, workers)
        if once:
            console.print("[green]all as expected[/]" if not failed else f"[red]{failed} not as expected[/]")
            return 1 if failed else 0
        _print_what_next(console, broker, passcode, workers[0])
        await operator.print_what_next(console)
        _print_page(console, url)
        console.print("Ctrl-C stops all.")
        await _until_something_ends(children, stop)
        return 0


def _bridge(folder: Path, broker: EmbeddedBroker, url: str, key_sha256: str) -> Child:
    config = folder / "bridge.toml"
    config.write_text(
        f'[server]\nbind = ["{url.removeprefix("http://")}"]\n'
        f'[broker]\nurls = ["{broker.stomp_url}"]\nlogin = "{broker.login}"\n'
        f'[store]\nurl = "sqlite:///{folder}/jobs.db"\n[admin]\nkey_sha256 = "{key_sha256}"\n'
        + resources.files("mqbridge.commands").joinpath("demo.toml").read_text()
    )
    environment = {**os.environ, PASSCODE: broker.passcode}
    return Child("bridge", ["serve", "--config", str(config)], "ready on", environment)


def _worker(broker: EmbeddedBroker, passcode: Path) -> Child:
    options = ["--broker", broker.stomp_url, "--login", "worker", "--passcode-file", str(passcode)]
    # Its log would repeat the failure that the demo shows on purpose.
    arguments = ["work", "consumers.demo:worker", *options, "--concurrency", str(SLOTS), "--log-level", "critical"]
    return Child("worker", arguments, "worker ready", os.environ)


def _write_secret(path: Path, secret: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(secret + "\n")
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


@dataclass(frozen=True, slots=True)
class Operator:
    """Who has the bridge's admin key, which is in a file for as long as the demo runs."""

    url: str
    key_file: Path

    async def print_what_next(self, console: Console) -> None:
        """Print how to look inside the bridge."""
        header = f'"Authorization: Bearer $(cat {self.key_file})"'
        console.print("Look inside the bridge, with its admin key:")
        console.print(f"  {_program()} top --url {self.url} --admin-key-file {self.key_file}", markup=False)
        console.print(f"  curl -sS -H {header} {self.url}/-/api/status", markup=False)
        if await self._has_dashboard():
            console.print(f"  {self.url}/-/dashboard   # in a browser; the key: cat {self.key_file}", markup=False)

    async def _has_dashboard(self) -> bool:
        headers = {"authorization": f"Bearer {self.key_file.read_text().strip()}"}
        try:
            async with httpx.AsyncClient(trust_env=False, headers=headers) as client:
                return (await client.get(f"{self.url}/-/dashboard")).status_code != httpx.codes.NOT_FOUND
        except httpx.HTTPError:
            return False


def _program() -> str:
    installed = Path(sys.executable).with_name("mqbridge")
    return str(installed) if installed.exists() else f"{sys.executable} -m mqbridge"


def _print_what_next(console: Console, broker: EmbeddedBroker, passcode: Path, worker: Child) -> None:
    command = f"{_program()} work consumers.demo:worker"
    console.print("Still running. In a second terminal, repeat any of these, or:")
    console.print(f"  kill -9 {worker.pid}   # a worker dies: the other one goes on", markup=False)
    options = f"--broker {broker.stomp_url} --login worker --passcode-file {passcode}"
    console.print(f"  {command} {options}   # one more worker", markup=False)


def _print_page(console: Console, url: str) -> None:
    """Print how to open the example's page, where there is one: it is no part of what is installed."""
    if not PAGE.is_dir():
        return
    console.print("A web page that follows jobs:")
    console.print(f"  python3 -m http.server 8000 --bind 127.0.0.1 --directory {PAGE}", markup=False)
    console.print(f"  http://127.0.0.1:8000/?bridge={url}   # in a browser", markup=False)


async def _until_something_ends(children: list[Child], stop: asyncio.Event) -> None:
    """Wait for the signal; the bridge's end is the end, a worker's is what the reader may be trying."""
    bridge_ended = asyncio.create_task(children[0].wait())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([bridge_ended, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    bridge_ended.cancel()
    if not stop.is_set():
        raise CommandError("the bridge ended by itself")
