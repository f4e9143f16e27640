"""A real browser for tests, and pages for it to open."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.async_api import Browser

CHROMIUM = "/usr/bin/chromium"
# Root may not use the sandbox, and in a container /dev/shm is small.
OPTIONS = ["--no-sandbox", "--disable-dev-shm-usage"]
PATIENCE = 20_000  # ms


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A Chromium of its own for a test: ``page = await browser.new_page()``. Expectations wait for 20 s.

    Where there is none: on a laptop a skip that says what to install, in CI a failure.
    """
    from playwright.async_api import Error, async_playwright, expect

    program = shutil.which("chromium") or CHROMIUM
    expect.set_options(timeout=PATIENCE)
    async with async_playwright() as playwright:
        try:
            chromium = await playwright.chromium.launch(executable_path=program, args=OPTIONS)
        except Error as error:
            message = (
                f"no browser: {program} cannot be started ({error.message.splitlines()[0]}); apt-get install chromium"
            )
            if os.environ.get("CI"):
                raise RuntimeError(message) from error
            pytest.skip(f"{message}, or scripts/test as root does it")
        try:
            yield chromium
        finally:
            await chromium.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the standard library's name
        """Say nothing."""


@contextmanager
def served(folder: Any) -> Iterator[str]:
    """Serve the files of a folder as ``python3 -m http.server`` does, on a free port of loopback; gives the origin."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
