"""The command line. The only place that reads the environment, and the only one that knows all packages."""

from importlib.metadata import version

__version__ = version("activemq-rest-bridge")
