"""What the bridge's tests share: both HTTP servers, queues of their own."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from activemq.local import LocalBroker

if TYPE_CHECKING:
    from collections.abc import Callable

SERVERS = ("uvicorn", "hypercorn")
CARRIERS = ("activemq", "in-process")


@pytest.fixture(scope="module", params=SERVERS)
def implementation(request: pytest.FixtureRequest) -> str:
    """The HTTP server: what is promised holds on both."""
    return str(request.param)


@pytest.fixture(scope="module", params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> Any:
    """What carries a call to its worker: what is promised of a held call holds with a broker and without one."""
    return LocalBroker() if request.param == "in-process" else request.getfixturevalue("broker")


@pytest.fixture(scope="module")
def queue() -> Callable[[str], str]:
    """Queue names that no other module of the session uses."""
    prefix = f"test.{secrets.token_hex(4)}"
    return lambda name: f"{prefix}.{name}"
