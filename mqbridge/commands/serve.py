"""`mqbridge serve`: the bridge."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bridge.jobs.store import StoreRefusedError
from bridge.server import BindError, run
from bridge.settings import Settings, SettingsError, load
from mqbridge.console import CommandError, say
from mqbridge.environment import environment

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)


def serve(config: Path) -> int:
    """Run until a signal; return the exit code."""
    settings = read_settings(config)
    for note in settings.notes:
        log.warning("%s", note)
    try:
        cut = run(settings, lambda addresses: say(f"ready on {' '.join(addresses)}"))
    except BindError as error:
        raise CommandError(str(error)) from error
    except StoreRefusedError as error:
        raise CommandError(f"the store is refused: {error}", 2) from error
    return 1 if cut else 0


def read_settings(config: Path) -> Settings:
    """Read the settings. Raises :class:`CommandError` that lists all faults."""
    try:
        return load(config, environment())
    except SettingsError as error:
        raise CommandError(f"the configuration is refused\n{error}", 2) from error
