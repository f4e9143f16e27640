"""What the bridge's tests share: both HTTP servers, queues of their own."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

SERVERS = ("uvicorn", "hypercorn")


@pytest.fixture(scope="module", params=SERVERS)
def implementation(request: pytest.FixtureRequest) -> str:
    """The HTTP server: what is promised holds on both."""
    return str(request.param)


@pytest.fixture(scope="module")
def queue() -> Callable[[str], str]:
    """Queue names that no other module of the session uses."""
    prefix = f"test.{secrets.token_hex(4)}"
    return lambda name: f"{prefix}.{name}"
