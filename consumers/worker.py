"""A worker: handlers by queue, and the connection that feeds them."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, TypeVar

from activemq.brokers.profile import QUEUE_NAME
from consumers.counts import Counts
from consumers.handler import Handler, make_handler
from consumers.lanes import share
from consumers.policies import Policies
from consumers.slot import Slot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from activemq import Client
    from consumers.handler import Function
    from consumers.tracing import Tracing
    from consumers.watchdog import Patience

    F = TypeVar("F", bound=Function)

log = logging.getLogger(__name__)


class SubscriptionRefusedError(Exception):
    """The broker does not let this worker read a queue."""


class Worker:
    """Handlers, each for a queue.

    ::

        worker = Worker()

        @worker.handler("texts")
        async def count(text: str) -> dict[str, int]:
            return {"words": len(text.split())}

    ``name`` is shown to operators; ``lifespan`` is an asynchronous context manager entered before the first message
    and left after the last, for what handlers share. ``reserve`` keeps slots for some queues: see
    :func:`consumers.lanes.share`.
    """

    def __init__(
        self,
        name: str = "worker",
        *,
        lifespan: Callable[[], AbstractAsyncContextManager[object]] | None = None,
        reserve: Mapping[str, int] | None = None,
    ) -> None:
        self.name = name
        self.counts = Counts()
        self._lifespan = lifespan or nullcontext
        self._reserve = dict(reserve or {})
        self._functions: dict[str, Function] = {}
        self._handlers: dict[str, Handler] = {}

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that have a handler."""
        return (*self._functions, *self._handlers)

    def slots(self, concurrency: int) -> dict[str, int]:
        """Return how many slots each queue gets; raises ValueError if they are too few for what is reserved."""
        return share(self.queues, concurrency, self._reserve)

    def handler(self, queue: str) -> Callable[[F], F]:
        """Make the decorated function the handler of a queue; see :func:`consumers.handler.make_handler`."""

        def register(function: F) -> F:
            self._check_new(queue)
            self._functions[queue] = function
            return function

        return register

    def add(self, queue: str, handler: Handler) -> None:
        """Give a queue a ready handler: what the adapters make."""
        self._check_new(queue)
        self._handlers[queue] = handler

    def _check_new(self, queue: str) -> None:
        if not QUEUE_NAME.fullmatch(queue):
            raise ValueError(f"queue {queue!r}: must be 1 to 128 letters, digits and . _ -")
        if queue in self.queues:
            raise ValueError(f"queue {queue!r} has a handler already")

    async def run(
        self,
        client: Client,
        concurrency: int,
        stop: asyncio.Event,
        on_ready: Callable[[], None] = lambda: None,
        tracing: Tracing | None = None,
        patience: Patience | None = None,
    ) -> None:
        """Work until ``stop`` is set, then finish what is running and leave.

        ``client``: not started yet; ``concurrency``: the slots of each queue, or of all together if some
        are reserved; ``on_ready`` is called once the broker has confirmed all subscriptions; ``tracing`` puts a span
        around each handler's work; ``patience``: when a handler hangs, and the process is ended with exit code
        :data:`consumers.watchdog.HUNG`; None: it never is. Raises :class:`SubscriptionRefusedError` if the broker
        refuses a subscription then.
        """
        if not self.queues:
            raise ValueError("this worker has no handler")
        slots = self.slots(concurrency)
        executor = ThreadPoolExecutor(sum(slots.values()), thread_name_prefix=self.name)
        try:
            handlers = {queue: make_handler(function, executor) for queue, function in self._functions.items()}
            handlers |= self._handlers
            if tracing is not None:
                handlers = {
                    queue: tracing.traced(queue, handler, lambda: client.profile.kind)
                    for queue, handler in handlers.items()
                }
            async with self._lifespan():
                await self._run(client, handlers, slots, stop, on_ready, patience)
        finally:
            # Drained, nothing runs any more; cancelled, a thread may, and waiting for it here would stop the loop.
            executor.shutdown(wait=False)

    async def _run(
        self,
        client: Client,
        handlers: dict[str, Handler],
        numbers: dict[str, int],
        stop: asyncio.Event,
        on_ready: Callable[[], None],
        patience: Patience | None,
    ) -> None:
        policies = Policies.of(client, self.name, patience)
        slots = [
            Slot(client, queue, handler, self.name, self.counts, policies)
            for queue, handler in handlers.items()
            for _ in range(numbers[queue])
        ]
        tasks = [asyncio.create_task(slot.run(), name=f"slot {slot.subscription.id}") for slot in slots]
        if policies.watchdog is not None:
            policies.watchdog.start(asyncio.get_running_loop())
        try:
            async with client:
                await self._serve(client, slots, tasks, stop, on_ready)
        finally:
            if policies.watchdog is not None:
                policies.watchdog.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    async def _serve(
        client: Client,
        slots: list[Slot],
        tasks: list[asyncio.Task[None]],
        stop: asyncio.Event,
        on_ready: Callable[[], None],
    ) -> None:
        stopping = asyncio.create_task(stop.wait(), name="stop")
        connected = asyncio.create_task(client.wait_connected(), name="first connection")
        try:
            await asyncio.wait([stopping, connected], return_when=asyncio.FIRST_COMPLETED)
            if connected.done():
                for slot in slots:
                    if slot.subscription.error is not None:
                        raise SubscriptionRefusedError(str(slot.subscription.error))
                on_ready()
            # A slot that ends by itself is a defect: let it be seen.
            await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            connected.cancel()
        busy = sum(slot.busy for slot in slots)
        if busy:
            log.info("draining: %d handlers are running", busy)
        # Slots before the connection: the last replies and ACKs still have to leave.
        for slot in slots:
            slot.drain()
        await asyncio.gather(*tasks)
