"""What the environment says: read here, handed on as values."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

from activemq import Credentials
from bridge.settings.secrets import read_secret as read_secret_file
from mqbridge.console import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

LOGIN = "MQBRIDGE_BROKER__LOGIN"
PASSCODE = "MQBRIDGE_BROKER__PASSCODE"
_LOGIN_IS: Final = f"--login and --passcode-file, or {LOGIN} and {PASSCODE}"
ADMIN_KEY = "MQBRIDGE_ADMIN_KEY"
KEY = "MQBRIDGE_KEY"
CONFIG = "MQBRIDGE_CONFIG"
SESSIONS = "MQBRIDGE_SESSIONS"  # hex; what `serve --processes` gives its processes
FOLDER = "MQBRIDGE_FOLDER"  # where these processes meet
ADMIN_KEY_SHA256 = "MQBRIDGE_ADMIN__KEY_SHA256"  # the setting
USUAL_CONFIG = Path("/etc/mqbridge/bridge.toml")


def environment() -> Mapping[str, str]:
    """Return all of it."""
    return os.environ


def credentials(login: str | None, passcode_file: Path | None, vhost: str = "/") -> Credentials:
    """Return who to be at the broker: the options, or else the environment.

    Raises :class:`CommandError` naming what cannot be used.
    """
    passcode = read_secret(passcode_file) if passcode_file else os.environ.get(PASSCODE)
    try:
        return Credentials(login or os.environ.get(LOGIN), passcode, vhost, _LOGIN_IS)
    except ValueError as error:
        raise CommandError(str(error), 2) from error


def admin_key(file: Path | None) -> str:
    """Return a bridge's admin key, from a file or else the environment.

    Raises :class:`CommandError` if there is none, or naming a file that cannot be read.
    """
    key = read_secret(file) if file else os.environ.get(ADMIN_KEY)
    if not key:
        raise CommandError(
            f"the bridge shows this to its operator only: set {ADMIN_KEY}, or --admin-key-file; "
            "a bridge without [admin] key_sha256 prints one when it starts",
            2,
        )
    return key


def caller_key(file: Path | None) -> str | None:
    """Return a caller's key, from a file or else the environment; None if there is none: an open bridge wants none.

    Raises :class:`CommandError` naming a file that cannot be read.
    """
    return read_secret(file) if file else os.environ.get(KEY) or None


def operators_key(file: Path | None) -> str | None:
    """Return what :func:`admin_key` does, or None if there is none."""
    return admin_key(file) if file or os.environ.get(ADMIN_KEY) else None


def config_file(given: Path | None, usual: Path = USUAL_CONFIG) -> Path:
    """Return the settings file: what was asked for, or the one of an installed service.

    Raises :class:`CommandError` if there is neither.
    """
    if given is not None:
        return given
    if not usual.exists():
        raise CommandError(
            f"there is no {usual}: name the settings with --config FILE, or {CONFIG}; "
            "`mqbridge demo` needs none, and docs/configuration.md has one to begin with",
            2,
        )
    return usual


def read_secret(path: Path) -> str:
    """Return the one line that a file holds. Raises :class:`CommandError`."""
    try:
        return read_secret_file(path)
    except ValueError as error:
        raise CommandError(str(error), 2) from error


class Places(TypedDict):
    """Where an embedded broker finds Java and keeps its jars, as arguments of EmbeddedBroker."""

    java_home: str | None
    java_path: str | None
    cache_dir: Path | None


def places() -> Places:
    """Return what the environment says; None leaves it to EmbeddedBroker."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return {
        "java_home": os.environ.get("JAVA_HOME"),
        "java_path": os.environ.get("PATH"),
        "cache_dir": Path(cache) / "activemq-rest-bridge" if cache else None,
    }
