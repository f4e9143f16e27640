"""A real ActiveMQ Classic as a child process: no Docker, and no Java or broker needed beforehand."""

from activemq.embedded.configuration import BrokerLimits, Login, Role
from activemq.embedded.launcher import EmbeddedBroker, default_cache_dir
from activemq.embedded.pair import BrokerPair, Database

__all__ = ["BrokerLimits", "BrokerPair", "Database", "EmbeddedBroker", "Login", "Role", "default_cache_dir"]
