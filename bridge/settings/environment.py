"""Overrides from the environment: `MQBRIDGE_SECTION__KEY`. The caller passes the variables in."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from .faults import Fault
from .models import ARRAYS, TABLES
from .wording import did_you_mean

PREFIX = "MQBRIDGE_"
SEPARATOR = "__"
SOURCE = "environment"

Place = tuple[str, str]
"""A section and a key in it."""


@dataclass(frozen=True)
class Overrides:
    """What the environment sets: values by place. `repr` leaves the values out: some are secret."""

    values: Mapping[Place, object]
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Overrides({', '.join(variable(place) for place in self.values)})"

    def onto(self, document: Mapping[str, object]) -> dict[str, object]:
        """Copy `document` with the values put in; a section that is no table is left to be refused."""
        merged = {name: dict(value) if isinstance(value, dict) else value for name, value in document.items()}
        for (section, key), value in self.values.items():
            table = merged.setdefault(section, {})
            if isinstance(table, dict):
                table[key] = value
        return merged


def variable(place: Place) -> str:
    """Name the variable that sets a key: `("server", "max_held")` is `MQBRIDGE_SERVER__MAX_HELD`."""
    return PREFIX + SEPARATOR.join(place).upper()


def read(environ: Mapping[str, str]) -> Overrides:
    """Take the overrides out of `environ`. A variable that names no known key is a fault."""
    places = {variable(place): place for place in _places()}
    values: dict[Place, object] = {}
    faults = []
    for name in sorted(environ):
        if name in places:
            values[places[name]] = _value(places[name], environ[name])
        elif name.startswith(PREFIX) and SEPARATOR in name.removeprefix(PREFIX):
            faults.append(Fault(name, None, _unknown(name, tuple(places)), SOURCE))
    notes = tuple(
        f"{single} is not read; the variable is {name}, with two underscores"
        for name, place in places.items()
        if (single := PREFIX + "_".join(place).upper()) in environ
    )
    return Overrides(values, tuple(faults), notes)


def _places() -> Iterator[Place]:
    for section, model in TABLES.items():
        for key in model.model_fields:
            yield section, key


def _unknown(name: str, known: tuple[str, ...]) -> str:
    if name.removeprefix(PREFIX).partition(SEPARATOR)[0].lower() in ARRAYS:
        return "routes and callers cannot be set from the environment, only in the file"
    if name.upper() in known:
        return f"is not in upper case; write {name.upper()}"
    return f"names no key of this version{did_you_mean(name, known)}"


def _value(place: Place, text: str) -> object:
    """`text` as a TOML value where it is one, else as a string; keys that hold text get text."""
    section, key = place
    annotation = TABLES[section].model_fields[key].annotation
    if annotation is SecretStr:
        return text
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    if set(document) != {"value"}:  # a line break in it began another key
        return text
    value = document["value"]
    textual = annotation in (str, Path | None)
    return text if textual and not isinstance(value, str) else value
