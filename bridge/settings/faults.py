"""What is wrong with a configuration, as values: one fault for each thing, all of them at once."""

import json
import re
from dataclasses import dataclass

Location = tuple[str | int, ...]
"""Where a value stands in the document, as tables, keys and indexes: `("route", 1, "queue")`."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_USER_INFO = re.compile(r"^([A-Za-z0-9+.-]+://)?.*@", re.DOTALL)
_LONGEST_SHOWN = 80


@dataclass(frozen=True)
class Finding:
    """A fault before it is known where in the file it stands.

    `near` is the place to point at when `at` itself is not in the file (a default at fault).
    """

    at: Location
    reason: str
    near: Location | None = None


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    `key` is the key's path (`route[1].queue`, counted from 0), the name of an environment
    variable, or empty when the file as a whole is meant. `line` counts from 1. `source` is the
    file's name, as it was given, or `environment`.
    """

    key: str
    line: int | None
    reason: str
    source: str = ""

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        return ": ".join(part for part in (place, self.key, self.reason) if part)


class SettingsError(Exception):
    """The configuration is refused. `faults` holds every fault found, `source` the file's name."""

    faults: tuple[Fault, ...]
    source: str

    def __init__(self, faults: tuple[Fault, ...], source: str) -> None:
        super().__init__(faults, source)
        self.faults = faults
        self.source = source

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)


def key_of(location: Location) -> str:
    """Write a location as people write it: `("route", 1, "queue")` is `route[1].queue`."""
    key = ""
    for part in location:
        if isinstance(part, int):
            key += f"[{part}]"
        else:
            key += f"{'.' if key else ''}{part if _BARE_KEY.fullmatch(part) else json.dumps(part)}"
    return key


def show(value: object) -> str:
    """Write a TOML value for a message: short, on one line, and without the user and password of a URL.

    Not for values that are secrets as a whole: never pass those.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple, set, frozenset)):
        return "an array"
    if isinstance(value, dict):
        return "a table"
    if not isinstance(value, str):
        return _shortened(str(value))
    return _shortened(json.dumps(_USER_INFO.sub(r"\1***@", value), ensure_ascii=False))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"
