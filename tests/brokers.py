"""The kinds of brokers that the tests run against, and one of each for a session."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from activemq.embedded import EmbeddedBroker
from activemq.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


class RealBroker(Protocol):
    """What a test may do with a broker. Whatever kind it is, its main login may do what bridges and workers may."""

    @property
    def kind(self) -> str: ...
    @property
    def stomp_url(self) -> str: ...
    @property
    def stomp_port(self) -> int: ...
    @property
    def login(self) -> str: ...
    @property
    def passcode(self) -> str: ...
    @property
    def pid(self) -> int: ...

    async def start(self) -> None:
        """Start it; after :meth:`stop` or :meth:`kill` on the same port, with the same messages."""

    async def stop(self) -> None: ...
    async def kill(self) -> None: ...
    async def close(self) -> None: ...


def _embedded(kind: str) -> Callable[..., RealBroker]:
    def make(**options: Any) -> EmbeddedBroker:
        """An ``EmbeddedBroker`` that finds Java where the shell that runs the tests would."""
        places = {"java_home": os.environ.get("JAVA_HOME"), "java_path": os.environ.get("PATH")}
        return EmbeddedBroker(kind, **{**places, "quick": True, **options})

    return make


# Another kind of broker for the tests marked `every_broker` is another line here.
KINDS: Mapping[str, Callable[..., RealBroker]] = {"classic": _embedded("classic"), "artemis": _embedded("artemis")}


def skip_or_fail(error: ArtifactError) -> None:
    """No network and no jars: on a laptop that is a skip, in CI an error. All else that is wrong is always an error."""
    if os.environ.get("CI") or not error.reason.startswith("cannot be fetched"):
        raise error
    pytest.skip(
        f"no broker to test against ({error}). To enable these tests run scripts/test once with "
        "the network up: the jars are kept after that."
    )


class Pool:
    """Starts a broker of a kind when it is first asked for; they live on a loop of their own, in a thread."""

    def __init__(self) -> None:
        self._running: dict[str, RealBroker] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="session brokers")
        self._thread.start()

    def get(self, kind: str) -> RealBroker:
        if kind not in self._running:
            broker = self._running[kind] = KINDS[kind]()
            try:
                self._run(broker.start())
            except ArtifactError as error:
                del self._running[kind]
                skip_or_fail(error)
        return self._running[kind]

    def close(self) -> None:
        for broker in self._running.values():
            self._run(broker.close())
        self._run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def start_own(kind: str, folder: Path, **options: Any) -> RealBroker:
    """Start a broker for one test."""
    broker = KINDS[kind](**{"data_dir": folder, **options})
    try:
        await broker.start()
    except ArtifactError as error:
        skip_or_fail(error)
    return broker
