"""Two brokers of which one stands in for the other: what they share, and what says which of them is live.

They have the same logins and the same messages. Whoever gets the lock is live; the other waits for it, and listens to
nobody until then. See docs/high-availability.md for what each of these protects against.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final

from activemq.embedded.artifacts import JDBC, ZOOKEEPER

if TYPE_CHECKING:
    from pathlib import Path

    from activemq.embedded.artifacts import Distribution

# Seconds. Of a file lock: how often who waits looks. Of a lease: how long it lasts, which is also the pause of whoever
# waits for it, so that it takes up to twice that; and how often its holder renews it. Of a session at ZooKeeper: when a
# broker that is silent loses its lock; one that does not reach ZooKeeper stops serving after a third of it, so that an
# election among ZooKeeper's nodes has to be over by then (on a saturated machine one took 1.4 s). Of the connection
# between two replicas: when a silent partner is given up.
FILE_RETRY: Final = 1.0
LEASE: Final = 3.0
LEASE_RENEWED_EVERY: Final = 1.0
SESSION: Final = 10.0
REPLICA_TTL: Final = 5.0


@dataclass(frozen=True, slots=True)
class Waits:
    """How a log tells that its broker stands by: it has ``said`` and does not ``unless`` for ``settled`` seconds."""

    said: str
    unless: str = ""
    settled: float = 0.0

    def told_by(self, text: str) -> bool:
        """Whether that log says so now."""
        return re.search(self.said, text) is not None and not (self.unless and re.search(self.unless, text))


@dataclass(frozen=True, slots=True)
class SharedFile:
    """Classic: one KahaDB folder, and the lock on a file in it. ``folder`` is on a file system that both have."""

    folder: Path

    kind: ClassVar = "classic"
    supplement: ClassVar[Distribution | None] = None
    options: ClassVar[tuple[str, ...]] = ()
    waits: ClassVar = Waits(r"is locked by another server\. This broker is now in slave mode")


@dataclass(frozen=True, slots=True)
class SharedDatabase:
    """Classic: one database of MySQL or MariaDB, and a lease in a row of it.

    ``url`` is ``jdbc:mariadb://HOST:PORT/DATABASE…``; ``holder`` is this broker's name for itself, which must be
    another one than its partner's: with the same one both would hold the lease. ``ValueError`` for another kind of URL.
    """

    url: str
    user: str
    password: str = field(repr=False)
    holder: str

    kind: ClassVar = "classic"
    supplement: ClassVar[Distribution | None] = JDBC
    options: ClassVar[tuple[str, ...]] = ()
    # It tells of the attempt and of its success, but not of its failure.
    waits: ClassVar = Waits(r"attempting to acquire exclusive lease", unless="becoming master with lease", settled=1.0)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"jdbc:mariadb://[^/\s]+/[^/\s?]+(\?\S*)?", self.url):
            raise ValueError("the database must be jdbc:mariadb://HOST:PORT/NAME")
        for text in (self.url, self.user, self.password, self.holder):
            if "${" in text or "#{" in text:
                raise ValueError("the database's settings must not hold ${ or #{")


@dataclass(frozen=True, slots=True)
class Replica:
    """Artemis: a journal each, kept the same over the network, and a lock at ZooKeeper.

    ``name`` is this broker's; ``peer_port`` the other's for CORE, on the same address; ``zookeeper`` is
    ``HOST:PORT,…``, and ``password`` the one with which the two know each other.
    """

    name: str
    peer_port: int
    zookeeper: str
    password: str = field(repr=False)

    kind: ClassVar = "artemis"
    supplement: ClassVar[Distribution | None] = ZOOKEEPER
    options: ClassVar[tuple[str, ...]] = (
        "-Dzookeeper.sasl.client=false",  # it would look for a login context of that name
        "-Dorg.slf4j.simpleLogger.log.org.apache.zookeeper=warn",
        "-Dorg.slf4j.simpleLogger.log.org.apache.curator=warn",
    )
    waits: ClassVar = Waits(r"AMQ221024: ")  # "Backup server … is synchronized": before that it would not do as one


Standby = SharedFile | SharedDatabase | Replica
