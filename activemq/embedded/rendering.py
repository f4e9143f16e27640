"""A :class:`Configuration` as the files of a broker whose working directory is its data folder. Pure.

The templates are also those of the files that :mod:`activemq.embedded.shipped` writes for brokers that others run.
"""

from __future__ import annotations

from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape, quoteattr

from activemq.embedded.configuration import Role
from activemq.embedded.standby import (
    FILE_RETRY,
    LEASE,
    LEASE_RENEWED_EVERY,
    REPLICA_TTL,
    SESSION,
    Replica,
    SharedDatabase,
    SharedFile,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from activemq.embedded.configuration import BrokerLimits, Configuration, Login
    from activemq.embedded.standby import Standby

_LOGIN_MODULE: Final = "org.apache.activemq.artemis.spi.core.security.jaas.PropertiesLoginModule"
# The realm's name is the acceptors' `securityDomain`; the files are beside this one.
LOGIN_CONFIG: Final = f"""activemq {{
  {_LOGIN_MODULE} required reload=false
    org.apache.activemq.jaas.properties.user="users.properties"
    org.apache.activemq.jaas.properties.role="roles.properties";
}};
"""
POISON: Final = ".poison"  # the end of the name of where a worker parks; activemq knows no other rule of it
_BRIDGES: Final = f"{Role.ADMIN.value},{Role.BRIDGE.value}"
_EMBEDDED: Final = {
    "note": "Rendered anew by activemq.embedded for every start; edits here are lost. Holds passwords: mode 0600.",
    "name": "embedded",
}

_KAHADB: Final = Template("""\
      <!-- A folder in use is an error at once; the default is to wait for ever as somebody's slave. -->
      <kahaDB directory="$data/kahadb" journalMaxFileLength="8mb" enableJournalDiskSyncs="true">
        <locker>
          <shared-file-locker failIfLocked="true"/>
        </locker>
      </kahaDB>""")
_SHARED_KAHADB: Final = Template("""\
      <!-- Whoever has the lock is live; it looks every now and then whether it still has it. -->
      <kahaDB directory=$folder journalMaxFileLength="8mb" enableJournalDiskSyncs="true" lockKeepAlivePeriod="$retry">
        <locker>
          <shared-file-locker lockAcquireSleepInterval="$retry"/>
        </locker>
      </kahaDB>""")
_DATA_SOURCE: Final = Template("""\
  <bean id="store" class="org.apache.commons.dbcp2.BasicDataSource" destroy-method="close">
    <property name="driverClassName" value="org.mariadb.jdbc.Driver"/>
    <property name="url" value=$url/>
    <property name="username" value=$user/>
    <property name="password" value=$password/>
    <property name="poolPreparedStatements" value="true"/>
    <property name="maxTotal" value="20"/>
  </bean>
""")
_JDBC: Final = Template("""\
      <!-- The adapter by its name: this driver's is not known, and what is taken then keeps no message over 64 KiB.
           The lease's length is the pause between two attempts to get it. -->
      <jdbcPersistenceAdapter dataSource="#store" dataDirectory="." lockKeepAlivePeriod="$renewed_every">
        <adapter><mysql-jdbc-adapter/></adapter>
        <locker><lease-database-locker leaseHolderId=$holder lockAcquireSleepInterval="$lease"/></locker>
      </jdbcPersistenceAdapter>""")
_LEASE_LOST: Final = """\
    <!-- Without its database it closes its connectors, and opens them again only if the lease is still its own. -->
    <ioExceptionHandler>
      <bean xmlns="http://www.springframework.org/schema/beans"
            class="org.apache.activemq.util.LeaseLockerIOExceptionHandler"/>
    </ioExceptionHandler>
"""
# Two equals: whoever gets the lock is live, and nothing fails back, which would be another interruption.
_PAIR: Final = Template("""\
    <cluster-user>pair</cluster-user>
    <cluster-password>$password</cluster-password>
    <connectors>
      <connector name="self">$own</connector>
      <connector name="peer">$peer</connector>
    </connectors>
    <ha-policy>
      <replication>
        <primary>
          <manager>
            <class-name>org.apache.activemq.artemis.lockmanager.zookeeper.CuratorDistributedLockManager</class-name>
            <properties>
              <property key="connect-string" value=$zookeeper/>
              <property key="session-ms" value="$session"/>
              <property key="connection-ms" value="2000"/>
              <property key="namespace" value="activemq"/>
            </properties>
          </manager>
          <coordination-id>bridge-pair</coordination-id>
        </primary>
      </replication>
    </ha-policy>
    <cluster-connections>
      <cluster-connection name="pair">
        <connector-ref>self</connector-ref>
        <!-- The default takes a partner that hangs for alive for a minute; until then it is neither replaced nor,
             if it is the copy that hangs, left behind. -->
        <check-period>1000</check-period>
        <connection-ttl>$ttl</connection-ttl>
        <static-connectors><connector-ref>peer</connector-ref></static-connectors>
      </cluster-connection>
    </cluster-connections>
""")


def render(kind: str, configuration: Configuration) -> dict[str, str]:
    """Return the files: path below the data folder → text. ``kind`` is one of the distributions'."""
    return _RENDERERS[kind](configuration)


def _classic(configuration: Configuration) -> dict[str, str]:
    users = "\n".join(
        classic_user(login.name, login.passcode, sorted(login.roles, key=lambda role: role.value))
        for login in configuration.logins
    )
    beans, persistence, io_errors = _classic_store(configuration.standby)
    places = {
        **_EMBEDDED,
        "data": ".",
        "users": users,
        "placeholders": beans,
        "persistence": persistence,
        "io_errors": io_errors,
        "tcp_no_delay": "false",
    }
    if configuration.tcp_no_delay:
        places["tcp_no_delay"] = "true"
    return {
        "activemq.xml": classic_xml(configuration.worker_queues, configuration.limits, _where(configuration, places))
    }


def _artemis(configuration: Configuration) -> dict[str, str]:
    standby = configuration.standby
    places = _where(configuration, {**_EMBEDDED, "data": "data"})
    if isinstance(standby, Replica):
        places |= {"name": standby.name, "high_availability": _artemis_pair(standby, configuration)}
    return {
        "etc/broker.xml": artemis_xml(configuration.worker_queues, configuration.limits, places),
        "etc/login.config": LOGIN_CONFIG,
        "etc/users.properties": users_properties(configuration.logins),
        "etc/roles.properties": roles_properties(configuration.logins),
    }


_RENDERERS: Final[Mapping[str, Callable[[Configuration], dict[str, str]]]] = {"classic": _classic, "artemis": _artemis}


def _where(configuration: Configuration, places: Mapping[str, str]) -> dict[str, str]:
    return {
        **places,
        "address": configuration.address,
        "stomp_port": str(configuration.stomp_port),
        "openwire_port": str(configuration.openwire_port),
    }


def classic_xml(worker_queues: Sequence[str], limits: BrokerLimits, places: Mapping[str, str]) -> str:
    """Return activemq.xml. ``places`` are the template's other fields: names, folders, addresses, users."""
    queues = "\n".join(_classic_queue(queue) for queue in worker_queues)
    own = {"placeholders": "", "persistence": _KAHADB.substitute(data=places["data"]), "io_errors": ""}
    return _fill("classic-activemq.xml", limits, {**own, **places, "worker_queues": queues})


def artemis_xml(worker_queues: Sequence[str], limits: BrokerLimits, places: Mapping[str, str]) -> str:
    """Return broker.xml. ``places`` are the template's other fields: names, folders, addresses."""
    return _fill(
        "artemis-broker.xml", limits, {"high_availability": "", **places, "queues": _artemis_queues(worker_queues)}
    )


def _fill(template: str, limits: BrokerLimits, places: Mapping[str, str]) -> str:
    text = resources.files(__package__ or __name__).joinpath(template).read_text("utf-8")
    return Template(text).substitute(
        places,
        memory_limit=limits.memory,
        store_limit=limits.store,
        temp_limit=limits.temp,
        max_frame=limits.max_frame,
        connections=limits.connections,
        connect_timeout=limits.connect_timeout,
        connect_timeout_ms=limits.connect_timeout * 1_000,
        silence_ms=limits.silence * 1_000,
    )


def _classic_store(standby: Standby | None) -> tuple[str, str, str]:
    """Return what stands before the broker, in its persistence adapter, and after that."""
    if isinstance(standby, SharedDatabase):
        return _DATA_SOURCE.substitute(_database(standby)), _JDBC.substitute(_database(standby)), _LEASE_LOST
    if isinstance(standby, SharedFile):
        return "", shared_kahadb(str(standby.folder)), ""
    return "", _KAHADB.substitute(data="."), ""


def shared_kahadb(folder: str) -> str:
    """Return the store in a folder for which a second broker may wait."""
    return _SHARED_KAHADB.substitute(folder=quoteattr(folder), retry=_ms(FILE_RETRY))


def _database(standby: SharedDatabase) -> dict[str, str]:
    return {
        "url": quoteattr(standby.url),
        "user": quoteattr(standby.user),
        "password": quoteattr(standby.password),
        "holder": quoteattr(standby.holder),
        "lease": _ms(LEASE),
        "renewed_every": _ms(LEASE_RENEWED_EVERY),
    }


def _ms(seconds: float) -> str:
    return str(int(seconds * 1_000))


def _artemis_pair(standby: Replica, configuration: Configuration) -> str:
    return _PAIR.substitute(
        password=escape(standby.password),
        own=f"tcp://{configuration.address}:{configuration.openwire_port}",
        peer=f"tcp://{configuration.address}:{standby.peer_port}",
        zookeeper=quoteattr(standby.zookeeper),
        session=_ms(SESSION),
        ttl=_ms(REPLICA_TTL),
    )


def classic_user(name: str, passcode: str, roles: Iterable[Role]) -> str:
    """Return one user's element for activemq.xml."""
    groups = ",".join(role.value for role in roles)
    return (
        f"          <authenticationUser username={quoteattr(name)} "
        f"password={quoteattr(passcode)} groups={quoteattr(groups)}/>"
    )


def users_properties(logins: Sequence[Login]) -> str:
    """Return Artemis's file of passcodes."""
    return "".join(f"{_property(login.name)}={_property(login.passcode)}\n" for login in logins)


def roles_properties(logins: Sequence[Login]) -> str:
    """Return Artemis's file of who has which role."""
    groups = {role: [_property(login.name) for login in logins if role in login.roles] for role in Role}
    return "".join(f"{role.value}={','.join(names)}\n" for role, names in groups.items())


def _classic_queue(queue: str) -> str:
    """Let workers read and write the queue, and park what is hopeless in its ``.poison``, where they read nothing."""
    own = f'<authorizationEntry queue={quoteattr(queue)} read="workers" write="workers" admin="workers"/>'
    parked = f'<authorizationEntry queue={quoteattr(queue + POISON)} write="workers" admin="workers"/>'
    return "\n".join(f"              {entry}" for entry in ((own,) if queue.endswith(">") else (own, parked)))


def _artemis_queues(worker_queues: Sequence[str]) -> str:
    with_workers = f"{_BRIDGES},{Role.WORKER.value}"
    roles = {"#": (_BRIDGES, _BRIDGES)}
    for queue in worker_queues:
        roles[queue.replace(">", "#")] = (with_workers, with_workers)
        if not queue.endswith(">"):
            roles[queue + POISON] = (with_workers, _BRIDGES)
    return "\n".join(_artemis_queue(match, writers, readers) for match, (writers, readers) in roles.items())


def _artemis_queue(match: str, writers: str, readers: str) -> str:
    rights = {
        **dict.fromkeys(("send", "createAddress", "createDurableQueue"), writers),
        "consume": readers,
        # A JMS program's temporary queue has a name without any prefix.
        **dict.fromkeys(("createNonDurableQueue", "deleteNonDurableQueue"), writers),
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
