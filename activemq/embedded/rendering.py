"""A :class:`Configuration` as the files of a broker whose working directory is its data folder. Pure."""

from __future__ import annotations

from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import quoteattr

from activemq.embedded.configuration import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activemq.embedded.configuration import Configuration, Login

_LOGIN_MODULE: Final = "org.apache.activemq.artemis.spi.core.security.jaas.PropertiesLoginModule"
# The realm's name is the acceptors' `securityDomain`; the files are beside this one.
_LOGIN_CONFIG: Final = f"""activemq {{
  {_LOGIN_MODULE} required reload=false
    org.apache.activemq.jaas.properties.user="users.properties"
    org.apache.activemq.jaas.properties.role="roles.properties";
}};
"""
_BRIDGES: Final = f"{Role.ADMIN.value},{Role.BRIDGE.value}"


def render(kind: str, configuration: Configuration) -> dict[str, str]:
    """Return the files: path below the data folder → text. ``kind`` is one of the distributions'."""
    return _RENDERERS[kind](configuration)


def _classic(configuration: Configuration) -> dict[str, str]:
    limits = configuration.limits
    text = _template("classic-activemq.xml").substitute(
        users="\n".join(_classic_user(login) for login in configuration.logins),
        worker_queues="\n".join(_classic_queue(queue) for queue in configuration.worker_queues),
        memory_limit=limits.memory,
        store_limit=limits.store,
        temp_limit=limits.temp,
        max_frame=limits.max_frame,
        address=configuration.address,
        stomp_port=configuration.stomp_port,
        tcp_no_delay="true" if configuration.tcp_no_delay else "false",
        openwire_port=configuration.openwire_port,
    )
    return {"activemq.xml": text}


def _artemis(configuration: Configuration) -> dict[str, str]:
    text = _template("artemis-broker.xml").substitute(
        queues=_artemis_queues(configuration.worker_queues),
        memory_limit=configuration.limits.memory,
        store_limit=configuration.limits.store,
        address=configuration.address,
        stomp_port=configuration.stomp_port,
        openwire_port=configuration.openwire_port,
    )
    logins = configuration.logins
    users = "".join(f"{_property(login.name)}={_property(login.passcode)}\n" for login in logins)
    groups = {role: [_property(login.name) for login in logins if role in login.roles] for role in Role}
    roles = "".join(f"{role.value}={','.join(names)}\n" for role, names in groups.items())
    return {
        "etc/broker.xml": text,
        "etc/login.config": _LOGIN_CONFIG,
        "etc/users.properties": users,
        "etc/roles.properties": roles,
    }


_RENDERERS: Final[Mapping[str, Callable[[Configuration], dict[str, str]]]] = {"classic": _classic, "artemis": _artemis}


def _template(name: str) -> Template:
    return Template(resources.files(__package__ or __name__).joinpath(name).read_text("utf-8"))


def _classic_user(login: Login) -> str:
    groups = ",".join(sorted(role.value for role in login.roles))
    return (
        f"          <authenticationUser username={quoteattr(login.name)} "
        f"password={quoteattr(login.passcode)} groups={quoteattr(groups)}/>"
    )


def _with_poison(queue: str) -> tuple[str, ...]:
    return (queue,) if queue.endswith(">") else (queue, f"{queue}.poison")


def _classic_queue(queue: str) -> str:
    return "\n".join(
        f'              <authorizationEntry queue={quoteattr(name)} read="workers" write="workers" admin="workers"/>'
        for name in _with_poison(queue)
    )


def _artemis_queues(worker_queues: Sequence[str]) -> str:
    roles = {"#": _BRIDGES} | {
        name.replace(">", "#"): f"{_BRIDGES},{Role.WORKER.value}"
        for queue in worker_queues
        for name in _with_poison(queue)
    }
    return "\n".join(_artemis_queue(match, users) for match, users in roles.items())


def _artemis_queue(match: str, users: str) -> str:
    rights = {
        **dict.fromkeys(("send", "consume", "createAddress", "createDurableQueue"), users),
        # A JMS program's temporary queue has a name without any prefix.
        **dict.fromkeys(("createNonDurableQueue", "deleteNonDurableQueue"), users),
        "browse": _BRIDGES,
        **dict.fromkeys(("deleteDurableQueue", "deleteAddress"), Role.ADMIN.value),
    }
    permissions = "".join(f'<permission type="{right}" roles="{roles}"/>' for right, roles in rights.items())
    return f"      <security-setting match={quoteattr(match)}>{permissions}</security-setting>"


def _property(text: str) -> str:
    """Escape a key or a value of a Java properties file, which is Latin-1: all that could mean something as UTF-16."""
    escaped = []
    for char in text:
        if char.isascii() and char.isalnum():
            escaped.append(char)
        else:
            units = char.encode("utf-16-be")
            escaped += [f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2)]
    return "".join(escaped)
