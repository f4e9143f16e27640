"""`mqbridge`, and at SIGUSR2 it writes down its tasks: ``python -m tests.faults.observed serve …``."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from types import FrameType

from mqbridge.cli import main

FOLDER = "FAULTS_FOLDER"  # the variable that says where


def tasks_file(folder: Path, pid: int) -> Path:
    """Where a process writes its tasks, one a line."""
    return folder / f"{pid}.tasks"


def _tell(_number: int, _frame: FrameType | None) -> None:
    tasks = [f"{task!r:.500}" for task in asyncio.all_tasks(asyncio.get_running_loop())]
    file = tasks_file(Path(os.environ[FOLDER]), os.getpid())
    file.with_suffix(".new").write_text("\n".join(tasks) + "\n")
    file.with_suffix(".new").rename(file)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR2, _tell)
    main()
