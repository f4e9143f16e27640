"""`--reload`: run the same command again whenever a Python file changes."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import watchfiles

from mqbridge.console import say

if TYPE_CHECKING:
    from collections.abc import Sequence

# A handler that is running may finish; the broker hands on what a killed one leaves.
DRAIN = 30  # seconds


def rerun_on_change(arguments: Sequence[str]) -> int:
    """Run `mqbridge` with these arguments, without ``--reload``, until a signal; return the exit code."""
    command = [sys.executable, "-m", "mqbridge", *(a for a in arguments if a != "--reload")]
    say("watching for changes of Python files here")
    watchfiles.run_process(
        ".",
        target=shlex.join(command),
        target_type="command",
        watch_filter=watchfiles.PythonFilter(),
        sigint_timeout=DRAIN,
        callback=lambda changes: say(f"{len(changes)} files changed; starting again"),
    )
    return 0
