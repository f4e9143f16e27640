"""Checks bodies without holding up the loop: small ones at once, the rest in a thread that makes way."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bridge.asgi import WITHOUT_CONTENT
from bridge.problems import Problem
from bridge.schema.work import TooMuchWorkError

if TYPE_CHECKING:
    from bridge.schema.document import BodyError, BodySchema
    from bridge.wheel import Wheel

AT_ONCE_BYTES: Final = 4096
AT_ONCE_STEPS: Final = 500  # at most 3 ms; most small bodies need a tenth of it
STEPS: Final = 10_000
STEPS_PER_BYTE: Final = 2  # the smallest value is two bytes with its comma: four keywords for each are always allowed
# Python gives another thread its turn only after 5 ms of waiting, unless this one sleeps.
NAP: Final = 0.00005  # seconds


@dataclass(slots=True)
class _Check:
    """One check in the thread."""

    schema: BodySchema
    body: bytes
    abandoned: bool = False

    def __call__(self) -> list[BodyError]:
        return self.schema.errors(self.body, STEPS + STEPS_PER_BYTE * len(self.body), self._pause)

    def _pause(self) -> None:
        if self.abandoned:
            raise TooMuchWorkError
        time.sleep(NAP)


class BodyChecks:
    """The checks of one bridge. All large bodies share one thread: they get in each other's way, not in the calls'."""

    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel
        self._thread: ThreadPoolExecutor | None = None

    async def check(self, schema: BodySchema, method: str, body: bytes, seconds: float) -> None:
        """Hold a body against a schema; it must be JSON, but for the absent body of a GET, HEAD, DELETE or OPTIONS.

        Raises :class:`Problem` ``invalid-body``, or ``deadline`` if ``seconds`` are over before it is known.
        """
        if not body and method in WITHOUT_CONTENT:
            return
        try:
            if len(body) <= AT_ONCE_BYTES:
                try:
                    errors = schema.errors(body, AT_ONCE_STEPS)
                except TooMuchWorkError:
                    errors = await self._aside(_Check(schema, body), seconds)
            else:
                errors = await self._aside(_Check(schema, body), seconds)
        except TooMuchWorkError:
            raise _invalid(
                [{"pointer": "", "message": "takes more work to check than a body of its size may"}]
            ) from None
        if errors:
            raise _invalid([{"pointer": error.pointer, "message": error.message} for error in errors])

    async def _aside(self, check: _Check, seconds: float) -> list[BodyError]:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "body checks")
        try:
            with self._wheel.timeout(max(seconds, 0.0)):
                return await asyncio.wrap_future(self._thread.submit(check))
        except TimeoutError:
            detail = "the time was over before the body was checked"
            raise Problem("deadline", detail, "no", {"phase": "unknown"}) from None
        finally:
            check.abandoned = True

    def stop(self) -> None:
        """Take no more; what is waiting is cancelled."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False, cancel_futures=True)


def _invalid(errors: list[dict[str, str]]) -> Problem:
    return Problem("invalid-body", "the body does not fit the route's JSON Schema", extra={"errors": errors})
