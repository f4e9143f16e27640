"""A real ActiveMQ Classic as a child process: no Docker, and no Java or broker needed beforehand."""

from activemq.embedded.configuration import BrokerLimits, Login, Role
from activemq.embedded.launcher import EmbeddedBroker, default_cache_dir

__all__ = ["BrokerLimits", "EmbeddedBroker", "Login", "Role", "default_cache_dir"]
