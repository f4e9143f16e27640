"""How the slots of a worker are shared among its queues. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def share(queues: Sequence[str], concurrency: int, reserve: Mapping[str, int]) -> dict[str, int]:
    """Return how many slots each queue gets.

    Without ``reserve`` each gets ``concurrency``. With it there are ``concurrency`` in all: a reserved queue gets what
    is reserved for it, so that its jobs never wait behind those of another, and the others share the rest evenly.
    Raises ValueError where that leaves a queue without a slot, or for a reserved queue that has no handler.
    """
    if not reserve:
        return dict.fromkeys(queues, concurrency)
    strangers = [queue for queue in reserve if queue not in queues]
    if strangers:
        raise ValueError(f"slots are reserved for {strangers[0]!r}, which has no handler")
    if min(reserve.values()) < 1:
        raise ValueError("at least one slot must be reserved, or none mentioned")
    others = [queue for queue in queues if queue not in reserve]
    rest = concurrency - sum(reserve.values())
    if rest < len(others):
        reserved = sum(reserve.values())
        raise ValueError(
            f"{concurrency} slots, {reserved} of them reserved, are too few for {len(others)} other queues"
        )
    shares = {queue: rest // len(others) + (place < rest % len(others)) for place, queue in enumerate(others)}
    return {queue: reserve.get(queue) or shares[queue] for queue in queues}
