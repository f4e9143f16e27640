"""The folder of one broker: messages, configuration, log, and the lock that keeps a second broker out."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import tempfile
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from activemq.errors import BrokerStartError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOCK_PATIENCE = 3.0  # seconds; a broker whose parent was killed needs 0.1 to leave
_LOCK_INTERVAL = 0.05


class DataFolder:
    """A folder that the user named, or a temporary one that goes away with this object at the latest."""

    def __init__(self, path: Path | None) -> None:
        """``path`` is made when it is needed; ``None`` makes a temporary folder at once. ``OSError`` if it cannot."""
        self.temporary = path is None
        self.path = Path(tempfile.mkdtemp(prefix="embedded-broker-")) if path is None else path.absolute()
        # a finalizer also runs at the end of the interpreter, should nobody close us
        self._remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
        if not self.temporary:
            self._remove.detach()

    @property
    def log(self) -> Path:
        """The broker's log; the one of the run before has ``.1`` appended."""
        return self.path / "broker.log"

    @property
    def kept_log(self) -> Path | None:
        """The same, if it will still be there for somebody to read."""
        return None if self.temporary else self.log

    def remove(self) -> None:
        """Remove it if it is a temporary one."""
        self._remove()

    async def lock(self) -> int:
        """Return a descriptor that holds the folder for one broker alone, until its last copy is closed.

        ``BrokerStartError`` if a broker still lives in it after three seconds, or if it cannot be used.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        held = False
        try:
            held = await _lock_patiently(descriptor)
        finally:
            if not held:
                os.close(descriptor)
        if not held:
            raise self.in_use()
        return descriptor

    def write_configuration(self, files: Mapping[str, str]) -> None:
        """Write files (path in this folder → text) so that only their owner can read them, also meanwhile."""
        for name, text in files.items():
            self._write(self.path / name, text)

    def _write(self, path: Path, text: str) -> None:
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.unlink(missing_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)

    def new_log(self) -> int:
        """Return a descriptor of an empty log; the one before is kept as ``broker.log.1``."""
        try:
            if self.log.exists():
                self.log.replace(self.log.with_name(f"{self.log.name}.1"))
            return os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise self._unusable(error) from error

    def in_use(self) -> BrokerStartError:
        """Return the error that says so."""
        return BrokerStartError(
            f"another broker is using the data folder {self.path}; stop it or choose another folder"
        )

    def _unusable(self, error: OSError) -> BrokerStartError:
        return BrokerStartError(f"the data folder {self.path} cannot be used: {error.strerror or error}")


async def _lock_patiently(descriptor: int) -> bool:
    give_up = time.monotonic() + _LOCK_PATIENCE
    # no event tells when another process lets go
    while not (held := _try_lock(descriptor)) and time.monotonic() < give_up:  # noqa: ASYNC110
        await asyncio.sleep(_LOCK_INTERVAL)
    return held


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
