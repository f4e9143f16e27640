"""The settings anew while the bridge runs: what of them takes effect, and what has to wait for a restart."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bridge.settings import SettingsError, faults_together
from bridge.settings.models import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.settings import Route, Settings

log = logging.getLogger(__name__)

_SOURCE: Final = "the running bridge, with these routes"


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload has done: names of routes; ``restart``: keys whose new values take effect only at a restart."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [
            f"{len(names)} {what} ({', '.join(names)})"
            for what, names in (("added", self.added), ("changed", self.changed), ("removed", self.removed))
            if names
        ]
        return ", ".join(["routes: " + ", ".join(parts) if parts else "no route differs", *self._waiting()])

    def _waiting(self) -> list[str]:
        return [f"left as they were until a restart: {', '.join(self.restart)}"] if self.restart else []


def merge(running: Settings, read: Settings) -> Settings:
    """Return the running settings with what can change in them: the routes and the callers.

    Raises :class:`SettingsError` if the new routes and the values that stay do not agree.
    """
    merged = running.model_copy(update={"routes": read.routes, "callers": read.callers, "notes": read.notes})
    faults = faults_together(merged, _SOURCE)
    if faults:
        raise SettingsError(faults, _SOURCE)
    return merged


def compare(running: Settings, read: Settings) -> Reloaded:
    """Say what differs."""
    before, after = _by_name(running), _by_name(read)
    same = {name for name in before.keys() & after.keys() if before[name] == after[name]}
    return Reloaded(
        added=tuple(name for name in after if name not in before),
        changed=tuple(name for name in after if name in before and name not in same),
        removed=tuple(name for name in before if name not in after),
        unchanged=tuple(name for name in after if name in same),
        restart=tuple(_differing(running, read)),
        notes=read.notes,
    )


def _by_name(settings: Settings) -> dict[str, Route]:
    return {route.name: route for route in settings.routes}


def _differing(running: Settings, read: Settings) -> list[str]:
    keys = []
    for table, model in TABLES.items():
        before, after = getattr(running, table), getattr(read, table)
        if before is None or after is None:
            keys += [table] if before != after else []
        else:
            keys += [f"{table}.{key}" for key in model.model_fields if getattr(before, key) != getattr(after, key)]
    return keys


class Reloader:
    """Reloads, one at a time. ``load`` reads the settings; ``apply`` puts merged ones into effect, at once."""

    def __init__(
        self, load: Callable[[], Settings], running: Callable[[], Settings], apply: Callable[[Settings], None]
    ) -> None:
        self._load = load
        self._running = running
        self._apply = apply
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[Reloaded] | None = None

    async def reload(self) -> Reloaded:
        """Read the settings that are there now and put them into effect, or raise :class:`SettingsError`.

        Whoever asks while another reload waits for its turn gets that one's result: it has not read anything yet.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._run(), name="reload")
        return await asyncio.shield(self._next)

    async def reload_and_log(self) -> None:
        """Do it for somebody who reads the log only."""
        try:
            await self.reload()
        except SettingsError:
            return  # it is in the log

    async def _run(self) -> Reloaded:
        async with self._turn:
            self._next = None
            try:
                read = await asyncio.to_thread(self._load)
                running = self._running()
                done = compare(running, read)
                self._apply(merge(running, read))
            except SettingsError as error:
                log.error("reload: refused, nothing has changed\n%s", error)  # noqa: TRY400 - no defect of ours
                raise
            for note in done.notes:
                log.warning("%s", note)
            log.log(logging.WARNING if done.restart else logging.INFO, "reload: %s", done)
            return done
