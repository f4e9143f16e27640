"""The pytest plugin: a real broker for our users' own tests (docs/testing-with-containers.md).

Loaded by the entry point ``pytest11`` in every test run where this package is installed, so what makes brokers is
imported only once a test asks for one.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from activemq.testing.real import RealBroker

_HELP: Final = "embedded, container, or the stomp:// URL of one that is there"
_MISSING: Final = ("fail", "skip")
_START_WITHIN: Final = 90.0  # seconds; on a saturated machine a broker took 9
_CONNECT_WITHIN: Final = 10.0  # seconds, with one that is there already
_LONGEST_QUEUE: Final = 128  # activemq.brokers.profile.QUEUE_NAME


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    group = parser.getgroup("activemq", "a real broker to test against")
    group.addoption("--activemq-broker", metavar="WHICH", help=_HELP)
    group.addoption("--activemq-kind", metavar="KIND", help="classic or artemis, or at a URL also rabbitmq")
    group.addoption("--activemq-image", metavar="IMAGE", help="the container's image")
    group.addoption("--activemq-timeout", metavar="SECONDS", help="how long to wait until it lets us log in")
    group.addoption("--activemq-missing", metavar="fail|skip", help="what to do if the broker cannot be had")
    parser.addini("activemq_broker", f"{_HELP}; ACTIVEMQ_TEST_BROKER in the environment goes before", default="")
    parser.addini("activemq_kind", "the broker's kind", default="")
    parser.addini("activemq_image", "the container's image", default="")
    parser.addini("activemq_timeout", "seconds until the broker must let us log in", default="")
    parser.addini("activemq_missing", "fail or skip", default="")


@pytest.fixture(scope="session")
def activemq_broker(pytestconfig: pytest.Config) -> Iterator[RealBroker]:
    """Give a real broker, one for the session. Its queues are shared by all tests: take ``activemq_queue``."""
    with ExitStack() as stack:
        try:
            missing = _missing(pytestconfig)
            broker = stack.enter_context(_choose(pytestconfig))
        except (ValueError, pytest.UsageError) as error:
            said = str(error) if isinstance(error, pytest.UsageError) else f"activemq_broker: {error}"
            pytest.exit(said, pytest.ExitCode.USAGE_ERROR)  # raised in a fixture, a UsageError would have a trace
        except Exception as error:  # noqa: BLE001 - what engines and their clients raise is theirs; it is told
            _cannot_be_had(pytestconfig, missing, error)
        yield broker


@pytest.fixture
def activemq_queues(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Give names: ``activemq_queues("orders")`` is one that no other test has, and the same within this test."""
    test = re.sub(r"[^A-Za-z0-9_-]+", "-", request.node.name).strip("-")[:60]
    prefix = f"test.{secrets.token_hex(6)}.{test}"

    def name(queue: str) -> str:
        full = f"{prefix}.{queue}"
        if len(full) > _LONGEST_QUEUE:
            raise ValueError(f"queue {queue!r}: at most {_LONGEST_QUEUE - len(prefix) - 1} characters fit here")
        return full

    return name


@pytest.fixture
def activemq_queue(activemq_queues: Callable[[str], str]) -> str:
    """Give the name of a queue that no other test uses."""
    return activemq_queues("queue")


def _missing(config: pytest.Config) -> str:
    """Return what to do if the broker cannot be had; raises ``pytest.UsageError``."""
    missing = _option(config, "missing") or "fail"
    if missing not in _MISSING:
        raise pytest.UsageError(f"activemq_missing: {missing!r}: must be fail or skip")
    return missing


def _cannot_be_had(config: pytest.Config, missing: str, error: Exception) -> NoReturn:
    """Skip, or fail in a line: docker-py's own traces have hundreds, and say no more. ``--full-trace`` shows them."""
    said = f"no broker to test against: {error or type(error).__name__}"
    if missing == "skip":
        pytest.skip(said)
    if config.getoption("fulltrace"):
        raise error
    pytest.fail(
        f"{said}\n(activemq_missing = skip skips these tests; --full-trace shows where it failed)", pytrace=False
    )


def _option(config: pytest.Config, name: str) -> str:
    """Read an option of the command line, or else of the configuration file."""
    return str(config.getoption(f"activemq_{name}") or config.getini(f"activemq_{name}") or "")


def _choose(config: pytest.Config) -> AbstractContextManager[RealBroker]:
    """Return what gives the broker that was asked for; raises ``pytest.UsageError`` for what cannot be meant."""
    kind, image, timeout = _option(config, "kind"), _option(config, "image"), _seconds(_option(config, "timeout"))
    which = str(
        config.getoption("activemq_broker")
        or os.environ.get("ACTIVEMQ_TEST_BROKER")
        or config.getini("activemq_broker")
        or "embedded"
    )
    if which == "embedded":
        from activemq.testing.real import embedded  # noqa: PLC0415 - see the module's docstring

        return embedded(kind or "classic", start_timeout=timeout or _START_WITHIN, **_places())
    if which == "container":
        from activemq.testing.container import container  # noqa: PLC0415

        return container(kind or "classic", image=image or None, start_timeout=timeout or _START_WITHIN)
    if not which.startswith(("stomp://", "stomp+ssl://")):  # not shown whole: it may hold a passcode
        raise pytest.UsageError(f"activemq_broker: must be {_HELP}")
    from activemq.testing.real import existing  # noqa: PLC0415

    # In the environment only: a passcode has no place in a file that is committed, nor on a command line.
    login = os.environ.get("MQBRIDGE_BROKER__LOGIN"), os.environ.get("MQBRIDGE_BROKER__PASSCODE")
    return existing(which, *login, kind=kind or "auto", timeout=timeout or _CONNECT_WITHIN)


def _seconds(text: str) -> float:
    """Read a time; 0.0 if none was given."""
    try:
        return float(text or 0)
    except ValueError:
        raise pytest.UsageError(f"activemq_timeout: {text!r}: must be seconds, such as 30") from None


def _places() -> dict[str, object]:
    """Where the embedded broker finds Java and keeps its jars: where ``mqbridge broker`` does."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return {
        "java_home": os.environ.get("JAVA_HOME"),
        "java_path": os.environ.get("PATH"),
        "cache_dir": Path(cache) / "activemq-rest-bridge" if cache else None,
    }
