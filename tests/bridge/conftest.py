"""What the bridge's tests share: both HTTP servers, queues of their own."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from activemq.local import LocalBroker
from tests.conftest import IN_PROCESS

if TYPE_CHECKING:
    from collections.abc import Callable

SERVERS = ("uvicorn", "hypercorn")


@pytest.fixture(scope="module", params=SERVERS)
def implementation(request: pytest.FixtureRequest) -> str:
    """The HTTP server: what is promised holds on both."""
    return str(request.param)


@pytest.fixture(scope="module")
def carrier(request: pytest.FixtureRequest) -> Any:
    """What carries a call to its worker: what is promised of a held call holds with a broker and without one.

    Which ones there are is in tests/conftest.py.
    """
    return LocalBroker() if request.param == IN_PROCESS else request.getfixturevalue("brokers").get(request.param)


@pytest.fixture(scope="module")
def queue() -> Callable[[str], str]:
    """Queue names that no other module of the session uses."""
    prefix = f"test.{secrets.token_hex(4)}"
    return lambda name: f"{prefix}.{name}"
