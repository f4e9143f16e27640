"""Configurations for brokers that others run: users with least rights, limits, no console. Pure.

What ``mqbridge broker-files`` writes and what lies in ``deploy/``. ActiveMQ's come of the very templates that the
embedded broker runs on; RabbitMQ's have the same users, and of the limits those that there are.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from typing import TYPE_CHECKING, Final

from activemq.embedded.configuration import BrokerLimits, Configuration, Login, Role
from activemq.embedded.rendering import (
    LOGIN_CONFIG,
    artemis_xml,
    classic_user,
    classic_xml,
    roles_properties,
    shared_kahadb,
    users_properties,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

KINDS: Final = ("classic", "artemis", "rabbitmq")
USERS: Final[Mapping[str, Role]] = {"bridge": Role.BRIDGE, "worker": Role.WORKER, "admin": Role.ADMIN}
RABBITMQ_PLUGINS: Final = ("rabbitmq_stomp", "rabbitmq_event_exchange")
_NOTE: Final = "Written by `mqbridge broker-files`: users with least rights, limits, no web console and no JMX."
_CLASSIC_NOTE: Final = f"""{_NOTE}
     ${{…}} are from the environment: BRIDGE_PASSCODE and WORKER_PASSCODE must be set; without ADMIN_PASSCODE nobody
     knows the administrator's. BROKER_DATA, BROKER_ADDRESS, STOMP_PORT and OPENWIRE_PORT have defaults.
     BROKER_STORE: where messages are, if a second broker is to stand in for this one."""
_PLACEHOLDERS: Final = '  <bean class="org.springframework.context.support.PropertySourcesPlaceholderConfigurer"/>\n'
_ADMIN_PASSCODE: Final = "${ADMIN_PASSCODE:#{T(java.util.UUID).randomUUID().toString()}}"


def shipped(
    kind: str,
    worker_queues: Sequence[str],
    passcodes: Mapping[str, str] | None = None,
    *,
    limits: BrokerLimits | None = None,
    address: str = "0.0.0.0",
    stomp_port: int = 61613,
    other_port: int | None = None,
    vhost: str = "/",
    folder: str = "/etc/rabbitmq",
) -> dict[str, str]:
    """Return the files of a broker: name → text.

    ``worker_queues``: names or ``prefix.>``, what workers may use. ``passcodes``: by user (``USERS``); without them
    Classic takes them from the environment, Artemis's users.properties is left out, and on RabbitMQ nobody can log in
    until ``password_hash`` is filled in. ``other_port``: OpenWire's, CORE's or AMQP's. ``vhost`` and ``folder``, where
    its files will lie, are RabbitMQ's. ``ValueError`` for what a :class:`Configuration` would refuse too, and for a
    queue of ``>``: all of them are no least right.
    """
    if not worker_queues or ">" in worker_queues:
        raise ValueError("name the workers' queues, or prefixes of them such as 'orders.>'")
    logins = tuple(Login(name, passcodes[name], frozenset({role})) for name, role in USERS.items()) if passcodes else ()
    default = 5672 if kind == "rabbitmq" else 61616
    configuration = Configuration(
        stomp_port, other_port or default, logins, tuple(worker_queues), limits or BrokerLimits(), address
    )
    if kind == "rabbitmq":
        return _rabbitmq(configuration, vhost, folder)
    return _RENDERERS[kind](configuration)


def rabbitmq_rights(role: Role, worker_queues: Sequence[str]) -> tuple[str, str, str]:
    """Return what a user may configure, write and read on RabbitMQ, as regular expressions.

    Whoever may write to ``amq.default`` may send to every queue of the virtual host by its name.
    """
    if role is Role.ADMIN:
        return (".*", ".*", ".*")
    own = [_pattern(queue) for queue in worker_queues]
    used = [_pattern(queue, r"(\.poison)?") for queue in worker_queues]
    parked = [_pattern(queue, r"\.poison") for queue in worker_queues]
    subscriptions = r"stomp-subscription-.*"
    if role is Role.BRIDGE:
        replies = r"bridge\..*"
        return (
            _any(replies, subscriptions, *used),
            _any(r"amq\.default", r"amq\.topic", replies, subscriptions),
            _any(r"amq\.topic", replies, subscriptions, *parked),
        )
    replies = r"bridge\.reply\..*"
    return (
        _any(replies, subscriptions, *used),
        _any(r"amq\.default", replies, subscriptions),
        _any(r"amq\.topic", replies, subscriptions, *own),
    )


def _classic(configuration: Configuration) -> dict[str, str]:
    passcodes = {login.name: login.passcode for login in configuration.logins} or {
        "bridge": "${BRIDGE_PASSCODE}",
        "worker": "${WORKER_PASSCODE}",
        "admin": _ADMIN_PASSCODE,
    }
    places = {
        "note": _CLASSIC_NOTE,
        "name": "bridge",
        "data": "${BROKER_DATA:data}",
        "persistence": shared_kahadb("${BROKER_STORE:${BROKER_DATA:data}/kahadb}"),
        "placeholders": _PLACEHOLDERS,
        "address": f"${{BROKER_ADDRESS:{configuration.address}}}",
        "stomp_port": f"${{STOMP_PORT:{configuration.stomp_port}}}",
        "openwire_port": f"${{OPENWIRE_PORT:{configuration.openwire_port}}}",
        "users": "\n".join(classic_user(name, passcodes[name], [role]) for name, role in USERS.items()),
        "tcp_no_delay": "true",
    }
    return {"activemq.xml": classic_xml(configuration.worker_queues, configuration.limits, places)}


def _artemis(configuration: Configuration) -> dict[str, str]:
    places = {
        "note": _NOTE,
        "name": "bridge",
        "data": "data",
        "address": configuration.address,
        "stomp_port": str(configuration.stomp_port),
        "openwire_port": str(configuration.openwire_port),
    }
    nobody = [Login(name, "none", frozenset({role})) for name, role in USERS.items()]
    files = {
        "broker.xml": artemis_xml(configuration.worker_queues, configuration.limits, places),
        "login.config": LOGIN_CONFIG,
        "roles.properties": roles_properties(configuration.logins or nobody),
    }
    if configuration.logins:
        files["users.properties"] = users_properties(configuration.logins)
    return files


_RENDERERS: Final[Mapping[str, Callable[[Configuration], dict[str, str]]]] = {"classic": _classic, "artemis": _artemis}


def _rabbitmq(configuration: Configuration, vhost: str, folder: str) -> dict[str, str]:
    limits = configuration.limits
    settings = f"""# {_NOTE}
listeners.tcp.1 = {configuration.address}:{configuration.openwire_port}
stomp.listeners.tcp.1 = {configuration.address}:{configuration.stomp_port}
# The users with their rights; there is no `guest`.
load_definitions = {folder}/definitions.json
max_message_size = {limits.max_frame}
handshake_timeout = {limits.connect_timeout * 1_000}
heartbeat = 30
channel_max = 64
# Above these it stops reading, and calls get 503 broker-unavailable.
vm_memory_high_watermark.absolute = {limits.memory + 256 * 1024 * 1024}
disk_free_limit.absolute = {limits.store}
"""
    return {
        "rabbitmq.conf": settings,
        "enabled_plugins": f"[{','.join(RABBITMQ_PLUGINS)}].\n",
        "definitions.json": json.dumps(_definitions(configuration, vhost), indent=2) + "\n",
    }


def _definitions(configuration: Configuration, vhost: str) -> object:
    passcodes = {login.name: login.passcode for login in configuration.logins}
    return {
        "vhosts": [{"name": vhost}],
        "users": [
            {"name": name, "password_hash": rabbitmq_hash(passcodes[name]) if passcodes else "", "tags": _tags(role)}
            for name, role in USERS.items()
        ],
        "permissions": [
            {"user": name, "vhost": vhost, **_rights(role, configuration.worker_queues)} for name, role in USERS.items()
        ],
        "parameters": [
            {
                "component": "vhost-limits",
                "name": "limits",
                "vhost": vhost,
                "value": {"max-connections": configuration.limits.connections},
            }
        ],
    }


def _tags(role: Role) -> str:
    return "administrator" if role is Role.ADMIN else ""


def _rights(role: Role, worker_queues: Sequence[str]) -> dict[str, str]:
    return dict(zip(("configure", "write", "read"), rabbitmq_rights(role, worker_queues), strict=True))


def rabbitmq_hash(password: str) -> str:
    """Return a password as RabbitMQ's definitions have it: a salt of four bytes, and SHA-256 of it and the password."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _pattern(queue: str, parked: str = "") -> str:
    if queue.endswith(">"):  # covers what is parked, too
        return re.escape(queue.removesuffix(">")) + ".*"
    return re.escape(queue) + parked


def _any(*patterns: str) -> str:
    return f"^({'|'.join(patterns)})$"
