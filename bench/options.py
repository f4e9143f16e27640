"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass

SERVERS = ("uvicorn", "hypercorn")


@dataclass(frozen=True, slots=True)
class Options:
    """The full form. Times in seconds, sizes in bytes."""

    rounds: int = 3
    seconds: int = 3  # of each load
    warm_up: int = 8  # of each server before the first round: Java compiles what it runs often
    connections: tuple[int, ...] = (1, 16, 64, 256)
    sizes: tuple[int, ...] = (64, 4096)
    held: int = 10_000
    killed_while_held: int = 1_000
    settle: float = 3.0  # before memory is read
    feature_rounds: int = 8  # in each of which a feature is on once and off once
    feature_seconds: int = 1  # of each of these two: they have to see the same machine


FULL = Options()
QUICK = Options(seconds=1, warm_up=1, connections=(1, 64), sizes=(64,), held=2_000, settle=0.5, feature_rounds=3)
