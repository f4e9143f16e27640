"""`mqbridge serve`: the bridge."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bridge.jobs.store import StoreRefusedError
from bridge.server import BindError, run
from bridge.settings import Admin, Settings, SettingsError, load
from mqbridge.commands.key import make_key
from mqbridge.console import CommandError, log_to_stderr, say
from mqbridge.environment import environment

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)


def serve(config: Path, log_level: str | None = None) -> int:
    """Run until a signal; return the exit code. ``log_level`` goes before that of the settings."""
    settings = with_admin_key(read_settings(config))
    log_to_stderr(log_level or settings.log.level, settings.log.format)
    for note in settings.notes:
        log.warning("%s", note)
    try:
        cut = run(
            settings,
            lambda addresses: say(f"ready on {' '.join(addresses)}"),
            load=lambda: _again(config, settings.admin),
        )
    except BindError as error:
        raise CommandError(str(error)) from error
    except StoreRefusedError as error:
        raise CommandError(f"the store is refused: {error}", 2) from error
    return 1 if cut else 0


def with_admin_key(settings: Settings) -> Settings:
    """Give a bridge without any authentication an admin key for as long as it runs, and print it once."""
    if settings.admin.key_sha256 or settings.callers or settings.jwt is not None:
        return settings
    key, key_sha256 = make_key()
    say(f"admin key {key}")
    log.info("the admin key opens `mqbridge top` and /-/api until the bridge ends; [admin] key_sha256 sets your own")
    return settings.model_copy(update={"admin": Admin(key_sha256=key_sha256)})


def _again(config: Path, admin: Admin) -> Settings:
    """Read the settings anew; the key that was made at the start stays."""
    settings = load(config, environment())
    return settings if settings.admin.key_sha256 else settings.model_copy(update={"admin": admin})


def read_settings(config: Path) -> Settings:
    """Read the settings. Raises :class:`CommandError` that lists all faults."""
    try:
        return load(config, environment())
    except SettingsError as error:
        raise CommandError(f"the configuration is refused\n{error}", 2) from error
