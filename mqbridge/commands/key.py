"""`mqbridge key new`: a key for a caller or the operator. The settings get its hash, its owner the key itself."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter, ValidationError

from bridge.settings.fields import Name
from mqbridge.console import CommandError, say

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PREFIX: Final = "mqb_"  # so that a scanner of repositories and logs can know one
BYTES: Final = 32  # of randomness: nobody guesses it, so one round of SHA-256 is enough to hide it


def make_key() -> tuple[str, str]:
    """Return a new key and its SHA-256 as the settings have it."""
    key = PREFIX + secrets.token_urlsafe(BYTES)
    return key, hashlib.sha256(key.encode()).hexdigest()


def new_key(
    name: str | None,
    *,
    admin: bool = False,
    routes: Sequence[str] = (),
    key_file: Path | None = None,
    as_json: bool = False,
) -> None:
    """Make a key; print the table for the settings on standard output, and the key on standard error or to a file.

    Raises :class:`CommandError`.
    """
    if (name is None) != admin:
        raise CommandError("give either the caller's NAME, or --admin", 2)
    if admin and routes:
        raise CommandError("--route is for callers: the operator's key opens no route", 2)
    for each in (*routes, *([name] if name else [])):
        try:
            TypeAdapter(Name).validate_python(each)
        except ValidationError as error:
            raise CommandError(f"{each!r}: {error.errors()[0]['ctx']['error']}", 2) from None
    key, key_sha256 = make_key()
    if key_file is not None:
        _write(key_file, key)
    if as_json:
        known = {"name": name, "routes": list(routes)} if name else {}
        shown = {} if key_file is not None else {"key": key}
        print(json.dumps(known | shown | {"key_sha256": key_sha256}))
        return
    if key_file is None:
        say(f"{'admin ' if admin else ''}key {key}")
        say("it is shown this once; whoever calls sends it as `Authorization: Bearer KEY`")
    print(_table(name, key_sha256, routes))


def _table(name: str | None, key_sha256: str, routes: Sequence[str]) -> str:
    if name is None:
        return f'\n[admin]\nkey_sha256 = "{key_sha256}"'
    listed = ", ".join(f'"{route}"' for route in routes)
    hint = "" if routes else "  # the names of the routes that it may call"
    return f'\n[[caller]]\nname = "{name}"\nkey_sha256 = "{key_sha256}"\nroutes = [{listed}]{hint}'


def _write(path: Path, key: str) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(key + "\n")
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error
