"""Callers that hold calls and make jobs all the time, and know what became of each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final, Self

from tests.bridge.callers import Response, call

HOLDERS: Final = 8
MAKERS: Final = 2
PAUSE: Final = 0.02  # seconds after a refusal
BETWEEN_JOBS: Final = 0.1  # seconds
LARGE_EVERY: Final = 10  # jobs
LARGE: Final = 150_000  # bytes: more than a BLOB of MariaDB holds, and a file of its own for Artemis
TEXT: Final = ("Content-Type", "text/plain")
JOBS_END_WITHIN: Final = 90.0  # seconds


@dataclass(frozen=True, slots=True)
class Ended:
    """A call: when it began and ended, by the loop's clock, and how."""

    began: float
    ended: float
    how: str


def _how(nonce: str, response: Response) -> str:
    """``reply``, or the problem's name; AssertionError for anything that is no definite answer to this call."""
    if response.status == 200:
        assert response.body == f"echo {nonce}".encode(), f"{nonce} was answered with {response.body!r}"
        return "reply"
    return response.name


class Load:
    """``async with Load(port) as load``: held calls and jobs until the end; then every job is waited for."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.calls: list[Ended] = []
        self.refused: Counter[str] = Counter()  # jobs that were not accepted, by the problem's name
        self.jobs: dict[str, str] = {}  # location → nonce
        self._numbers = count(1)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        works = [self._hold] * HOLDERS + [self._make] * MAKERS
        self._tasks = [asyncio.create_task(work()) for work in works]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for result in results:
            if not isinstance(result, asyncio.CancelledError):
                assert isinstance(result, BaseException)
                raise result

    def check(self) -> None:
        """Raise what a caller met that must not be."""
        for task in self._tasks:
            if task.done():
                task.result()

    def after(self, moment: float) -> list[Ended]:
        """The calls that began after it and are over."""
        return [one for one in self.calls if one.began > moment]

    def first_reply_after(self, moment: float) -> float | None:
        """When the first call that began after it had its reply."""
        return min((one.ended for one in self.after(moment) if one.how == "reply"), default=None)

    def held_at(self, moment: float) -> Counter[str]:
        """How those ended that were held then."""
        return Counter(one.how for one in self.calls if one.began < moment < one.ended)

    async def finish_jobs(self) -> int:
        """Wait for each job that was accepted, and return how many there were.

        AssertionError unless each has its own result.
        """
        waiting = dict(self.jobs)
        loop = asyncio.get_running_loop()
        end = loop.time() + JOBS_END_WITHIN
        while waiting:
            for location, nonce in list(waiting.items()):
                response = await call(self.port, f"{location}/result", None, method="GET")
                if response.status != 202:
                    assert (response.status, response.body) == (200, f"echo {nonce}".encode()), response
                    del waiting[location]
                else:
                    assert loop.time() < end, f"{len(waiting)} jobs are not over, one of them: {response.body!r}"
            await asyncio.sleep(0.05)
        return len(self.jobs)

    async def _hold(self) -> None:
        loop = asyncio.get_running_loop()
        for nonce in self._nonces():
            began = loop.time()
            how = _how(nonce, await call(self.port, "/echo", nonce.encode(), headers=(TEXT,)))
            self.calls.append(Ended(began, loop.time(), how))
            if how != "reply":
                await asyncio.sleep(PAUSE)

    async def _make(self) -> None:
        headers = (TEXT, ("Prefer", "respond-async"))
        for number, nonce in enumerate(self._nonces()):
            nonce = nonce if number % LARGE_EVERY else nonce.ljust(LARGE, ".")  # noqa: PLW2901
            response = await call(self.port, "/echo", nonce.encode(), headers=headers)
            if response.status == 202:
                self.jobs[str(response.get("location"))] = nonce
            else:
                self.refused[response.name] += 1
            await asyncio.sleep(BETWEEN_JOBS)

    def _nonces(self) -> Iterator[str]:
        """Every other one is slow, so that some are held at any moment and some tell soon that all is well."""
        while True:
            number = next(self._numbers)
            yield f"{'slow' if number % 2 else 'quick'} {number}"
