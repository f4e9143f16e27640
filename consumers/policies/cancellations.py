"""Calls that are over before their work is: skipped if they have not begun, stopped if they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from activemq.contract import CANCEL_TOPIC

if TYPE_CHECKING:
    from collections.abc import Callable

    from activemq import Client, Frame

REMEMBERED: Final = 10_000  # ids; about 1 MB


class Cancellations:
    """What bridges have said on the cancel topic. Best effort: a message's expiry holds in any case."""

    def __init__(self, client: Client | None, remembered: int = REMEMBERED) -> None:
        """``client``: not started yet; None if whoever makes this calls :meth:`on_cancel`."""
        self._remembered = remembered
        self._ids: dict[str, None] = {}  # in the order of their coming
        # By what stops it, since two messages may have one id: a second attempt, while the first one's thread goes on.
        self._running: dict[Callable[[], None], str] = {}
        if client is not None:
            client.subscribe(lambda p: {"destination": p.topic(CANCEL_TOPIC), "ack": "auto"}, self.on_cancel)
            client.listen(lambda: None, self._on_lost)

    def __contains__(self, correlation_id: str) -> bool:
        return correlation_id in self._ids

    def begin(self, correlation_id: str, stop: Callable[[], None]) -> None:
        """Have ``stop`` called if the call is cancelled before :meth:`end`."""
        self._running[stop] = correlation_id

    def end(self, stop: Callable[[], None]) -> None:
        """Forget a job that has ended."""
        self._running.pop(stop, None)

    def _on_lost(self, _: Exception) -> None:
        """Stop all: the broker gives what runs here to other workers, and no reply of ours would be acknowledged."""
        for stop in tuple(self._running):
            stop()

    def on_cancel(self, frame: Frame) -> None:
        """Note a cancellation."""
        correlation_id = frame.get("correlation-id")
        if not correlation_id:
            return
        for stop, running in tuple(self._running.items()):
            if running == correlation_id:
                stop()
        self._ids[correlation_id] = None
        if len(self._ids) > self._remembered:
            del self._ids[next(iter(self._ids))]
