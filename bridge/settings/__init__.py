"""The configuration: one TOML file to frozen, typed, checked settings, or all its faults at once."""

from .addresses import BrokerUrl
from .faults import Fault, SettingsError
from .loading import faults_together, load, parse
from .models import Admin, Broker, Caller, Cors, Jwt, Log, Route, Server, Settings, Store

__all__ = [
    "Admin",
    "Broker",
    "BrokerUrl",
    "Caller",
    "Cors",
    "Fault",
    "Jwt",
    "Log",
    "Route",
    "Server",
    "Settings",
    "SettingsError",
    "Store",
    "faults_together",
    "load",
    "parse",
]
