"""`--reload`: run the same command again whenever a Python file changes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import watchfiles

from mqbridge.console import say
from mqbridge.lifetime import drained_with_parent

if TYPE_CHECKING:
    from collections.abc import Sequence

# A handler that is running may finish; the broker hands on what a killed one leaves.
DRAIN = 30  # seconds


def rerun_on_change(arguments: Sequence[str]) -> int:
    """Run `mqbridge` with these arguments, without ``--reload``, until a signal; return the exit code."""
    say("watching for changes of Python files here")
    watchfiles.run_process(
        ".",
        target=run_apart,
        args=([a for a in arguments if a != "--reload"],),
        watch_filter=watchfiles.PythonFilter(),
        sigint_timeout=DRAIN,
        callback=lambda changes: say(f"{len(changes)} files changed; starting again"),
    )
    return 0


def run_apart(arguments: Sequence[str]) -> None:
    """Run `mqbridge` in a session of its own.

    A terminal's Ctrl-C goes to all processes of its session: with the one that the watcher sends it would be the
    second, which does not wait for running handlers.
    """
    os.setsid()
    die_with_parent = drained_with_parent()
    if die_with_parent is not None:
        die_with_parent()
    sys.argv = ["mqbridge", *arguments]
    from mqbridge.cli import main  # noqa: PLC0415 - it imports this

    main()
