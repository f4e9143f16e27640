"""Processes that hang: stopped as a machine that sleeps stops them, not ended."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

_WITHIN = 20.0  # seconds


async def hang(pid: int) -> None:
    """Stop a process, and wait until all its threads have: on a busy machine the signal takes a while to reach them."""
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(_WITHIN):
        while True:
            if _has_stopped(pid):
                return
            await asyncio.sleep(0.001)


def go_on(pid: int) -> None:
    """Let it go on."""
    os.kill(pid, signal.SIGCONT)


def _has_stopped(pid: int) -> bool:
    return all(_state(path) == "T" for path in Path(f"/proc/{pid}/task").glob("*/stat"))


def _state(stat: Path) -> str:
    try:
        return stat.read_text().rpartition(")")[2].split()[0]
    except OSError:  # this thread has ended meanwhile
        return "T"
