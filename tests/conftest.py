"""Real brokers for tests.

``broker`` is one broker for the whole session; ``own_broker`` starts others that a test may kill and restart. Tests
that use either get the marker ``broker``, so ``pytest -m "not broker"`` leaves them out. They run on ActiveMQ Classic;
those marked ``every_broker`` run on each kind that ``--brokers`` names, and what is of no kind in them with Classic.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.brokers import KINDS, Pool, RealBroker, start_own
from tests.differences import differs

if TYPE_CHECKING:
    from pathlib import Path

BROKER_FIXTURES = {"broker", "brokers", "own_broker", "rabbitmq"}
IN_PROCESS = "in-process"  # a carrier that is no broker
OwnBroker = Callable[..., Awaitable[RealBroker]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kill-jobs", type=int, default=200, help="how many jobs the test that kills bridges makes")
    parser.addoption("--kills", type=int, default=1, help="how often the tests of pairs kill the live broker")
    parser.addoption("--faults", default="short", choices=("short", "long"), help="the form of tests/faults")
    parser.addoption("--faults-results", default="", metavar="DIR", help="where tests/faults puts its figures")
    parser.addoption(
        "--brokers", default="classic", help=f"the kinds of brokers for tests marked every_broker: of {','.join(KINDS)}"
    )


def pytest_configure(config: pytest.Config) -> None:
    unknown = set(kinds_of(config)) - set(KINDS)
    if unknown:
        raise pytest.UsageError(f"--brokers: {', '.join(sorted(unknown))}: there are {', '.join(KINDS)}")


def kinds_of(config: pytest.Config) -> list[str]:
    return [kind for kind in config.getoption("--brokers").split(",") if kind]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    every = metafunc.definition.get_closest_marker("every_broker")
    if "broker_kind" in metafunc.fixturenames and every:
        # Indirect, so that a test that does not say which kind it wants is not given the last one's broker.
        metafunc.parametrize("broker_kind", kinds_of(metafunc.config), scope="session", indirect=True)
    if "carrier" in metafunc.fixturenames:
        kinds = kinds_of(metafunc.config) if every else ["classic"]
        metafunc.parametrize("carrier", [*kinds, IN_PROCESS], indirect=True, scope="module")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        uses = BROKER_FIXTURES.intersection(getattr(item, "fixturenames", ()))
        if uses or _parameters(item).get("carrier") in KINDS:
            item.add_marker(pytest.mark.broker)
    left_out = {item for item in items if _is_left_out(item)}
    if left_out:
        config.hook.pytest_deselected(items=[*left_out])
        items[:] = [item for item in items if item not in left_out]


def _parameters(item: pytest.Item) -> dict[str, Any]:
    return item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}


def _is_left_out(item: pytest.Item) -> bool:
    """Whether it says what is not promised there: jobs without a store, or what differs on its kind of broker."""
    parameters = _parameters(item)
    if parameters.get("carrier") == IN_PROCESS and item.get_closest_marker("jobs"):
        return True
    if not isinstance(item, pytest.Function) or not item.get_closest_marker("every_broker"):
        return False
    kind = next((str(parameters[name]) for name in ("broker_kind", "target_kind", "carrier") if name in parameters), "")
    if kind not in KINDS and "classic" not in kinds_of(item.config):
        return True  # it is of no kind, so it is run once: with the first
    path = item.path.relative_to(item.config.rootpath).as_posix()
    return differs(kind, path, item.name, item.originalname)


@pytest.fixture(scope="session")
def broker_kind(request: pytest.FixtureRequest) -> str:
    """The kind of ``broker`` and ``own_broker``."""
    return str(getattr(request, "param", "classic"))


@pytest.fixture(scope="session")
def brokers() -> Iterator[Pool]:
    """The session's brokers, by kind."""
    pool = Pool()
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def broker(brokers: Pool, broker_kind: str) -> RealBroker:
    """The session's broker of that kind, started. Use its ``stomp_url``, ``stomp_port``, ``login`` and ``passcode``.

    Its methods belong to another loop: a test that wants to stop, kill or restart one takes ``own_broker``. Queues are
    shared by all tests of the session, so give them names of their own.
    """
    return brokers.get(broker_kind)


@pytest.fixture
async def own_broker(tmp_path: Path, broker_kind: str) -> AsyncIterator[OwnBroker]:
    """``await own_broker(**options)`` starts a broker for this test alone; it ends with the test."""
    started: list[RealBroker] = []

    async def start(*, kind: str = broker_kind, **options: Any) -> Any:
        fresh = await start_own(kind, tmp_path / f"broker-{len(started)}", **options)
        started.append(fresh)
        return fresh

    yield start
    for one in started:
        await one.close()


@pytest.fixture(scope="session")
def rabbitmq(brokers: Pool) -> Any:
    """The session's RabbitMQ, for what is its own: a :class:`tests.rabbitmq.RabbitMq`."""
    return brokers.get("rabbitmq")
