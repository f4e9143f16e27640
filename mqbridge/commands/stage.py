"""What scenes of several requests need: to send, to show it as a command, to say what was expected."""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

import httpx

from bridge.client import aiter_events

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence

    from rich.console import Console

    from bridge.client import Event
    from mqbridge.commands.children import Child

PATIENCE = 20.0  # seconds
SHOWN = ("location", "job-state", "correlation-id", "idempotency-replayed")  # headers


class UnexpectedError(Exception):
    """Something is not as the demo says; the text is for the reader."""


def curl(method: str, url: str, headers: Iterable[tuple[str, str]] = (), *options: str) -> str:
    """Return the command that sends this; ``options`` come before the address."""
    parts = ["curl", "-sS", *(() if method == "GET" else ("-X", method))]
    for name, value in headers:
        parts += ["-H", f"{name}: {value}"]
    return shlex.join([*parts, *options, url])


class Stage:
    """Where scenes play: a bridge at ``url``, its workers, and the reader's terminal."""

    def __init__(self, console: Console, client: httpx.AsyncClient, url: str, workers: Sequence[Child]) -> None:
        self._console = console
        self._client = client
        self._url = url
        self._workers = workers

    async def play(self, act: Callable[[Stage], Awaitable[None]]) -> bool:
        """Say whether all went as expected; what did not is printed."""
        try:
            async with asyncio.timeout(2 * PATIENCE):
                await act(self)
        except (UnexpectedError, httpx.HTTPError, TimeoutError, ValueError) as error:
            self._console.print(f"  [red]✗[/] {_reason(error)}")
            return False
        return True

    def tell(self, text: str) -> None:
        """Print a line that is no request's."""
        self._console.print(f"  {text}", markup=False)

    async def send(self, method: str, path: str, status: int, *, brief: bool = False, **headers: str) -> httpx.Response:
        """Send a request without a body, print it and its answer; raises :class:`UnexpectedError` at another status.

        ``headers``: names with ``_`` for ``-``. ``brief``: of the answer only its first header of interest.
        """
        named = {name.replace("_", "-").title(): value for name, value in headers.items()}
        self.tell(f"$ {curl(method, self._url + path, named.items(), '-i')}")
        started = time.perf_counter()
        response = await self._client.request(method, path, headers=named)
        took = (time.perf_counter() - started) * 1_000
        if response.status_code != status:
            raise UnexpectedError(f"expected {status}, not {response.status_code}: {response.text[:500]}")
        kind = response.headers.get("content-type", "")
        self._console.print(f"  [green]✓[/] {status} {kind + ', ' if kind else ''}in {took:.0f} ms")
        for name in [name for name in SHOWN if name in response.headers][: 1 if brief else None]:
            self.tell(f"{name}: {response.headers[name]}")
        if response.text and not brief:
            self.tell(response.text[:500])
        return response

    async def events(self, path: str) -> AsyncGenerator[Event]:
        """Follow a job: its events, each printed as it comes."""
        self.tell(f"$ {curl('GET', self._url + path, (), '-N')}")
        async with self._client.stream("GET", path) as response:
            if response.status_code != httpx.codes.OK:
                raise UnexpectedError(f"expected the job's events, not {response.status_code}")
            async with aclosing(aiter_events(response)) as events:
                async for event in events:
                    number = "-" if event.id is None else event.id
                    self.tell(f"{number:>3}  {event.name:<8}  {json.dumps(event.data)[:200]}")
                    yield event

    async def worker_says(self, text: str, meanwhile: Awaitable[object]) -> None:
        """Do ``meanwhile`` and wait until one of the workers says on standard error that it has stopped a handler.

        Raises :class:`UnexpectedError`.
        """
        listening = [asyncio.create_task(worker.says(text)) for worker in self._workers]
        try:
            await asyncio.sleep(0)  # they listen before anything is done
            await meanwhile
            heard, _ = await asyncio.wait(listening, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in listening:
                task.cancel()
        if not heard:
            raise UnexpectedError(f"no worker said {text!r} in {PATIENCE:g} s")
        self.check("its worker has stopped the handler and says so", holds=text in heard.pop().result())

    def check(self, fact: str, *, holds: bool) -> None:
        """Print the fact; raises :class:`UnexpectedError` if it is none."""
        if not holds:
            raise UnexpectedError(f"not so: {fact}")
        self._console.print(f"  [green]✓[/] {fact}")


def problem_of(response: httpx.Response) -> str:
    """Return the name of the problem; raises ValueError if it is none."""
    return str(json.loads(response.text).get("type", "")).rpartition("/")[2]


def _reason(error: Exception) -> str:
    if isinstance(error, UnexpectedError):
        return str(error)
    return f"no answer in time: {error!r}" if isinstance(error, TimeoutError) else f"no answer: {error!r}"
