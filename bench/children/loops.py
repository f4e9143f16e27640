"""The loop that all measured processes run on: uvloop where it is installed, as the product does."""

from __future__ import annotations

import asyncio
import resource
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run ``main`` to its end, with all the descriptors that the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loop_factory = None
    if find_spec("uvloop"):
        import uvloop  # noqa: PLC0415 - part of an extra

        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main)
