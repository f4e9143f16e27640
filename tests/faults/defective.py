"""Workers with a defect, for the checker to find: ``mqbridge work tests.faults.defective:NAME``."""

from __future__ import annotations

from typing import Any

from consumers import Request, Worker
from consumers.delivery import Delivery
from tests.faults.handlers import NAME, QUEUE, work

EVERY = 10  # one of so many is done wrong

_reply = Delivery.reply
_acknowledge = Delivery.acknowledge


def _acknowledging_first(worker: Worker) -> Worker:
    """Its ACK goes before its reply."""

    async def reply(self: Delivery, data: bytes, receipt: str) -> bool:
        await _acknowledge(self)
        return await _reply(self, data, receipt)

    async def acknowledge(self: Delivery) -> None:
        """It is done."""

    Delivery.reply = reply  # type: ignore[method-assign] # the defect
    Delivery.acknowledge = acknowledge  # type: ignore[method-assign] # the defect
    return worker


class _Swapping:
    """Now and then the answer of the call before."""

    def __init__(self) -> None:
        self._before = ""
        self._count = 0

    async def __call__(self, request: Request) -> str:
        answer = await work(request)
        self._count += 1
        before, self._before = self._before, answer
        return before if before and self._count % EVERY == 0 else answer


def _worker(handler: Any) -> Worker:
    made = Worker(NAME)
    made.handler(QUEUE)(handler)
    return made


def __getattr__(name: str) -> Worker:
    if name == "ack_first":
        return _acknowledging_first(_worker(work))
    if name == "swap":
        swapping = _Swapping()

        async def swapped(request: Request) -> str:
            return await swapping(request)

        return _worker(swapped)
    raise AttributeError(name)
