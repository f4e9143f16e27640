"""`mqbridge broker-files`: the configuration of a broker that somebody else runs."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from activemq.embedded.shipped import KINDS, USERS, shipped
from mqbridge.console import CommandError, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def write_broker_files(
    kind: str, folder: Path, queues: Sequence[str], *, address: str, vhost: str, passcodes: bool = True
) -> None:
    """Write the files into ``folder``, and made passcodes into its folder ``passcodes``; nothing is overwritten.

    All are readable by their owner only. Without ``passcodes`` none are made, and the files ask for them.
    Raises :class:`CommandError`.
    """
    if kind not in KINDS:
        raise CommandError(f"there are {', '.join(KINDS)}, and no {kind!r}", 2)
    made = {name: secrets.token_urlsafe(24) for name in USERS} if passcodes else None
    try:
        files = shipped(kind, queues, made, address=address, vhost=vhost)
    except ValueError as error:
        raise CommandError(str(error), 2) from error
    _write(folder, {**files, **{f"passcodes/{name}": f"{passcode}\n" for name, passcode in (made or {}).items()}})
    say(f"{', '.join(files)} written to {folder}")
    if made:
        say(f"logins {', '.join(made)}; their passcodes are in {folder / 'passcodes'}")


def _write(folder: Path, files: Mapping[str, str]) -> None:
    there = [str(folder / name) for name in files if (folder / name).exists()]
    if there:
        raise CommandError(f"{', '.join(there)}: there already; name another folder, or remove what is there")
    try:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise CommandError(f"cannot write {error.filename or folder}: {error.strerror}") from error
