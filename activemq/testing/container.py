"""A real broker in a container, by testcontainers."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from activemq.embedded.configuration import Configuration, Login, Role
from activemq.embedded.rendering import render
from activemq.errors import BrokerStartError
from activemq.testing.real import RealBroker, wait_until_ready

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from testcontainers.core.container import DockerContainer

CLASSIC_IMAGE: Final = "apache/activemq-classic:6.3.2"
ARTEMIS_IMAGE: Final = "apache/artemis:2.57.0"
_STOMP: Final = 61613
_OPENWIRE: Final = 61616
_LOG_TAIL: Final = 2_000  # bytes


@dataclass(frozen=True, slots=True)
class _Official:
    """How an official image is given a configuration: ``files``: path in ours → path in the container."""

    image: str
    command: tuple[str, ...]
    working_dir: str  # our paths are relative, and this is where it may write, whoever it runs as
    files: Mapping[str, str]


_XML: Final = "/etc/activemq-testing.xml"
_INSTANCE: Final = "/var/lib/artemis-instance"
_OFFICIAL: Final[Mapping[str, _Official]] = {
    "classic": _Official(
        CLASSIC_IMAGE,
        ("activemq", "console", f"xbean:file:{_XML}"),
        "/opt/apache-activemq/data",
        {"activemq.xml": _XML},
    ),
    # Its entry point makes an instance, and puts what is in this folder over its configuration (docker-run.sh).
    "artemis": _Official(
        ARTEMIS_IMAGE,
        ("run",),
        _INSTANCE,
        {
            f"etc/{name}": f"{_INSTANCE}/etc-override/{name}"
            for name in ("broker.xml", "login.config", "users.properties", "roles.properties")
        },
    ),
}


@contextmanager
def container(
    kind: str = "classic",
    *,
    image: str | None = None,
    start_timeout: float = 90.0,
    **docker: Any,  # noqa: ANN401 - docker-py's own
) -> Iterator[RealBroker]:
    """Run one in a container for as long as the context lasts; blocks while it is pulled and started.

    ``kind``: ``classic`` or ``artemis``; ``image``: another version or a mirror of the official image;
    ``start_timeout``: seconds after the pull; ``docker``: further arguments of docker-py's ``containers.run``. It has
    the users, rights and limits of the embedded broker (:mod:`activemq.embedded.configuration`), a passcode of its own,
    and is published on loopback if the engine is on this machine. Which engine, and all else about it, is
    testcontainers' business: ``DOCKER_HOST``, ``TESTCONTAINERS_…``, ``~/.testcontainers.properties``.

    Raises ``ValueError`` for a kind that it has no image for, :class:`BrokerStartError` with the end of its log if it
    does not start, and what docker-py raises if there is no engine or no image.
    """
    official = _OFFICIAL.get(kind)
    if official is None:
        kinds = " or ".join(map(repr, _OFFICIAL))
        raise ValueError(f"kind must be {kinds}, not {kind!r}; for others start one yourself and name its URL")
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - part of an extra

    image = image or official.image
    main = Login("bridge", secrets.token_urlsafe(24), frozenset({Role.BRIDGE, Role.WORKER}))
    running = (
        DockerContainer(image)
        .with_command([*official.command])
        .with_kwargs(**{"working_dir": official.working_dir, **docker})
    )
    for path, text in render(kind, Configuration(_STOMP, _OPENWIRE, (main,), address="0.0.0.0")).items():
        running = running.with_copy_into_container(text.encode(), official.files[path])
    _publish(running)
    with running:
        try:
            address = f"stomp://{running.get_container_host_ip()}:{running.get_exposed_port(_STOMP)}"
            broker = RealBroker(kind, address, main.name, main.passcode)
            wait_until_ready(broker, start_timeout, lambda: _alive(running))
        except (BrokerStartError, OSError) as error:  # OSError: testcontainers finds it ended, or has no port of it
            log = running.get_wrapped_container().logs(tail=40)[-_LOG_TAIL:].decode(errors="replace")
            raise BrokerStartError(f"{image}: {error}; the end of its log:\n{log}") from error
        yield broker


def _publish(running: DockerContainer) -> None:
    """Publish STOMP on a free port, on loopback where that can be reached."""
    client = running.get_docker_client()
    local = client.get_connection_mode().value == "docker_host" and client.host() == "localhost"
    # docker-py takes (ADDRESS,) for any free port there; testcontainers' own methods and types do not know that form.
    ports: dict[str, Any] = running.ports
    ports[f"{_STOMP}/tcp"] = ("127.0.0.1",) if local else None


def _alive(running: DockerContainer) -> bool:
    running.reload()
    return bool(running.status == "running")
