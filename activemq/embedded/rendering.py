"""A :class:`Configuration` as the files of a broker whose working directory is its data folder. Pure."""

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
    from collections.abc import Callable, Mapping, Sequence

    from activemq.embedded.configuration import Configuration, Login
    from activemq.embedded.standby import Standby

_LOGIN_MODULE: Final = "org.apache.activemq.artemis.spi.core.security.jaas.PropertiesLoginModule"
# The realm's name is the acceptors' `securityDomain`; the files are beside this one.
_LOGIN_CONFIG: Final = f"""activemq {{
  {_LOGIN_MODULE} required reload=false
    org.apache.activemq.jaas.properties.user="users.properties"
    org.apache.activemq.jaas.properties.role="roles.properties";
}};
"""
_BRIDGES: Final = f"{Role.ADMIN.value},{Role.BRIDGE.value}"

_KAHADB: Final = """\
      <!-- A folder in use is an error at once; the default is to wait for ever as somebody's slave. -->
      <kahaDB directory="kahadb" journalMaxFileLength="8mb" enableJournalDiskSyncs="true">
        <locker>
          <shared-file-locker failIfLocked="true"/>
        </locker>
      </kahaDB>"""
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
    limits = configuration.limits
    beans, persistence, io_errors = _classic_store(configuration.standby)
    text = _template("classic-activemq.xml").substitute(
        beans=beans,
        persistence=persistence,
        io_errors=io_errors,
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
    standby = configuration.standby
    text = _template("artemis-broker.xml").substitute(
        name=standby.name if isinstance(standby, Replica) else "embedded",
        high_availability=_artemis_pair(standby, configuration) if isinstance(standby, Replica) else "",
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


def _classic_store(standby: Standby | None) -> tuple[str, str, str]:
    """Return what stands before the broker, in its persistence adapter, and after that."""
    if isinstance(standby, SharedDatabase):
        return _DATA_SOURCE.substitute(_database(standby)), _JDBC.substitute(_database(standby)), _LEASE_LOST
    if isinstance(standby, SharedFile):
        return "", _SHARED_KAHADB.substitute(folder=quoteattr(str(standby.folder)), retry=_ms(FILE_RETRY)), ""
    return "", _KAHADB, ""


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
