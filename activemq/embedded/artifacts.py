"""Which jars make a broker, where they lie, and that they are the ones we locked.

The versions live here and nowhere else. Every jar is compared with our own list of SHA-256 before *every* start:
the resolver's lock file records hashes but nothing enforces them, and it takes a truncated jar with a warning
(measured with jgo 3.2). The jars are kept in a folder of our own, flat, and not in the local Maven repository:
a jar that does not check out has to be replaced, and that repository belongs to the user's other builds.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from activemq.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CLASSIC_VERSION = "6.3.1"
ARTEMIS_VERSION = "2.57.0"
_NETTY = "4.1.137.Final"
_SPRING = "7.0.8"
_SLF4J = "2.0.18"


@dataclass(frozen=True, slots=True)
class Coordinate:
    """One jar by its Maven coordinates."""

    group: str
    name: str
    version: str

    @property
    def file_name(self) -> str:
        """The jar's name as Maven builds it."""
        return f"{self.name}-{self.version}.jar"

    def __str__(self) -> str:
        return f"{self.group}:{self.name}:{self.version}"


@dataclass(frozen=True, slots=True)
class Distribution:
    """A broker as a set of pinned jars; ``kind`` and ``version`` name its lock file and its folder.

    Or what a broker needs beside its own jars; these stay a set of their own, so that only who needs them fetches them.
    ``options`` are Java's, ``arguments`` the main class's; paths in them are below the data folder, where it runs.
    """

    kind: str
    title: str
    version: str
    main_class: str
    coordinates: tuple[Coordinate, ...]
    size: str = "10 MB"
    arguments: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """For people: ``ActiveMQ Classic 6.3.1``."""
        return f"{self.title} {self.version}"

    @property
    def folder(self) -> str:
        """The name of the folder with its jars, below the cache folder: ``classic-6.3.1``."""
        return f"{self.kind}-{self.version}"


def _pinned(version: str, group: str, *names: str) -> tuple[Coordinate, ...]:
    return tuple(Coordinate(group, name, version) for name in names)


# The least set with which `xbean:` configuration, STOMP, OpenWire, KahaDB and advisories work. Left out one by one
# and found missing: Spring is optional in activemq-spring's own POM; xstream, jettison, mxparser and xmlpull make the
# bodies of advisories (without them these are silently not delivered); jasypt is loaded on Java 25.
CLASSIC = Distribution(
    kind="classic",
    title="ActiveMQ Classic",
    version=CLASSIC_VERSION,
    main_class="org.apache.activemq.console.command.ShellCommand",
    arguments=("start", "xbean:file:activemq.xml"),
    coordinates=(
        *_pinned(
            CLASSIC_VERSION,
            "org.apache.activemq",
            "activemq-broker",
            "activemq-client",
            "activemq-console",
            "activemq-jaas",
            "activemq-kahadb-store",
            "activemq-spring",
            "activemq-stomp",
        ),
        *_pinned(CLASSIC_VERSION, "org.apache.activemq.protobuf", "activemq-protobuf"),
        *_pinned("1.11", "org.fusesource.hawtbuf", "hawtbuf"),
        *_pinned("3.1.0", "jakarta.jms", "jakarta.jms-api"),
        *_pinned("4.31", "org.apache.xbean", "xbean-spring"),
        *_pinned(
            _SPRING,
            "org.springframework",
            "spring-core",
            "spring-beans",
            "spring-context",
            "spring-expression",
        ),
        *_pinned("1.3.5", "commons-logging", "commons-logging"),
        *_pinned(_SLF4J, "org.slf4j", "slf4j-api", "slf4j-simple"),
        *_pinned("1.4.21", "com.thoughtworks.xstream", "xstream"),
        *_pinned("1.5.7", "org.codehaus.jettison", "jettison"),
        *_pinned("1.2.2", "io.github.x-stream", "mxparser"),
        *_pinned("1.1.3.1", "xmlpull", "xmlpull"),
        *_pinned("1.9.3", "org.jasypt", "jasypt"),
    ),
)


# The least set with which `embedded.Main`, STOMP, CORE, JAAS and the journal work. Left out: OpenWire, AMQP and the
# web console, which the copies of Maven Central that we saw do not all have at this version.
ARTEMIS = Distribution(
    kind="artemis",
    title="ActiveMQ Artemis",
    version=ARTEMIS_VERSION,
    main_class="org.apache.activemq.artemis.core.server.embedded.Main",
    arguments=(".",),
    options=(
        "-Djava.security.auth.login.config=etc/login.config",
        "-Dorg.slf4j.simpleLogger.log.org.apache.activemq.audit=off",  # a line for each message otherwise
        # Or: a warning for each ERROR frame (whoever gets it says so), and a stack trace for each message that comes
        # while its consumer leaves.
        "-Dorg.slf4j.simpleLogger.log.org.apache.activemq.artemis.core.protocol.stomp=error",
    ),
    coordinates=(
        *_pinned(
            ARTEMIS_VERSION,
            "org.apache.artemis",
            "artemis-commons",
            "artemis-core-client",
            "artemis-journal",
            "artemis-selector",
            "artemis-server",
            "artemis-stomp-protocol",
        ),
        *_pinned("3.2.4", "com.github.ben-manes.caffeine", "caffeine"),
        *_pinned("1.11.0", "commons-beanutils", "commons-beanutils"),
        *_pinned("3.2.2", "commons-collections", "commons-collections"),
        *_pinned("1.3.5", "commons-logging", "commons-logging"),
        *_pinned("4.0.7", "org.jctools", "jctools-core"),
        *_pinned(
            _NETTY,
            "io.netty",
            "netty-buffer",
            "netty-codec",
            "netty-codec-http",
            "netty-codec-socks",
            "netty-common",
            "netty-handler",
            "netty-transport",
        ),
        *_pinned(_SLF4J, "org.slf4j", "slf4j-api", "slf4j-simple"),
    ),
)

# What Classic needs to keep its messages in MySQL or MariaDB.
JDBC = Distribution(
    kind="classic-jdbc",
    title="JDBC store for ActiveMQ Classic",
    version=CLASSIC_VERSION,
    main_class="",
    size="2 MB",
    coordinates=(
        *_pinned(CLASSIC_VERSION, "org.apache.activemq", "activemq-jdbc-store"),
        *_pinned("4.0.0", "org.mariadb.jdbc", "mariadb-java-client"),
        *_pinned("2.14.0", "org.apache.commons", "commons-dbcp2"),
        *_pinned("2.13.0", "org.apache.commons", "commons-pool2"),
        *_pinned("1.3.3", "jakarta.transaction", "jakarta.transaction-api"),
    ),
)

# What Artemis needs to replicate (the Netty jars) and to take its lock at ZooKeeper, and ZooKeeper itself, which takes
# its slf4j from Artemis's own set. These are the jars of which classes were loaded in two failovers and two
# resynchronisations. Of artemis-lockmanager-ri the copies of Maven Central that we saw have none at 2.53 to 2.57; 2.43
# works with the API of 2.57. Without metrics-core a ZooKeeper node dies.
ZOOKEEPER = Distribution(
    kind="artemis-zookeeper",
    title="ZooKeeper and replication for ActiveMQ Artemis",
    version=ARTEMIS_VERSION,
    main_class="org.apache.zookeeper.server.quorum.QuorumPeerMain",
    size="6 MB",
    arguments=("zoo.cfg",),
    options=("-Dzookeeper.jmx.log4j.disable=true", "-Dzookeeper.admin.enableServer=false"),
    coordinates=(
        *_pinned(ARTEMIS_VERSION, "org.apache.artemis", "artemis-lockmanager-api"),
        *_pinned("2.43.0", "org.apache.activemq", "artemis-lockmanager-ri"),
        *_pinned("5.9.0", "org.apache.curator", "curator-client", "curator-framework", "curator-recipes"),
        *_pinned(
            _NETTY,
            "io.netty",
            "netty-handler-proxy",
            "netty-resolver",
            "netty-transport-classes-epoll",
            "netty-transport-native-unix-common",
        ),
        *_pinned("3.9.5", "org.apache.zookeeper", "zookeeper", "zookeeper-jute"),
        *_pinned("4.2.38", "io.dropwizard.metrics", "metrics-core"),
        *_pinned("1.1.10.8", "org.xerial.snappy", "snappy-java"),
    ),
)

DISTRIBUTIONS = {broker.kind: broker for broker in (CLASSIC, ARTEMIS)}
LOCKED = {**DISTRIBUTIONS, **{supplement.kind: supplement for supplement in (JDBC, ZOOKEEPER)}}


def distribution(kind: str) -> Distribution:
    """Return the broker of that kind; ``ValueError`` for one that we do not have."""
    if kind not in DISTRIBUTIONS:
        raise ValueError(f"kind must be one of {', '.join(DISTRIBUTIONS)}, not {kind!r}")
    return DISTRIBUTIONS[kind]


def load_lock(broker: Distribution) -> dict[str, str]:
    """Read the committed list: file name → SHA-256 as lower-case hex.

    The file has the format of ``sha256sum``. ``ArtifactError`` if it does not name exactly the pinned jars, which
    happens when a version was changed here and ``scripts/lock-broker`` was not run.
    """
    name = f"{broker.folder}.sha256"
    source = resources.files(__package__ or __name__).joinpath(name)
    if not source.is_file():
        raise ArtifactError(name, "there is no such lock file; run scripts/lock-broker")
    lines = (line.split() for line in source.read_text("ascii").splitlines())
    lock = {parts[1]: parts[0] for parts in lines if len(parts) == 2}
    if lock.keys() != {coordinate.file_name for coordinate in broker.coordinates}:
        raise ArtifactError(name, "does not name the pinned jars; run scripts/lock-broker")
    return lock


def sha256(path: Path) -> str:
    """Compute the file's SHA-256 as lower-case hex; ``OSError`` if it cannot be read."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def unsound(folder: Path, lock: Mapping[str, str]) -> list[str]:
    """Name the jars that are missing, unreadable or not the locked ones. 10 MB take about 10 ms."""
    return [name for name, expected in lock.items() if not _matches(folder / name, expected)]


def _matches(path: Path, expected: str) -> bool:
    try:
        return sha256(path) == expected
    except OSError:
        return False
