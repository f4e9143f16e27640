"""The settings as a page, from their models."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args, get_origin

from pydantic import SecretStr

from bridge.settings import fields
from bridge.settings.addresses import BrokerUrl
from bridge.settings.environment import PREFIX
from bridge.settings.models import ARRAYS, TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.settings.models import Section

_NOT_IN_THE_FILE: Final = {("broker", "passcode")}
_REQUIRED: Final = "required"
_UNITS: Final = {"h": 3_600, "m": 60, "s": 1}
_SIZES: Final = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}
_WORDS: Final = {str: "text", bool: "`true` or `false`"}


def render() -> str:
    """Return Markdown: each table with its keys, then a file with every default."""
    tables = [_table(name, model) for name, model in (*TABLES.items(), *ARRAYS.items())]
    return "\n".join([*tables, "## A file with every default\n", "```toml", *_file(), "```", ""])


def _table(name: str, model: type[Section]) -> str:
    array = name in ARRAYS
    head = f"## `[[{name}]]`" if array else f"## `[{name}]`"
    doc = re.sub(r"^`.*?`: ", "", (model.__doc__ or "").strip())
    rows = []
    for key, field in model.model_fields.items():
        written = field.alias or key
        default = _REQUIRED if field.is_required() else f"`{_toml(field.default, _kind(model, key))}`"
        only = " (only from the environment)" if (name, key) in _NOT_IN_THE_FILE else ""
        rows.append(f"| `{written}`{only} | {_kind(model, key)} | {default} |")
    text = doc[:1].upper() + doc[1:]
    if not array:
        first = next(iter(model.model_fields)).upper()
        text += f" In the environment: `{PREFIX}{name.upper()}__{first}` and so on."
    return "\n".join([f"{head}\n", f"{text}\n", "| key | takes | default |", "|---|---|---|", *rows, ""])


def _kind(model: type[Section], key: str) -> str:
    """Say what a key takes: the name of its type in :mod:`bridge.settings.fields`, or the values themselves."""
    return _say(model.__annotations__[key])


def _say(annotation: Any) -> str:  # noqa: ANN401 - an annotation can be anything
    for name, alias in vars(fields).items():
        # The beginning of it: Annotated[Schema, Field(…)] is flat, and knows no Schema any more.
        if get_origin(alias) is Annotated and get_args(annotation)[: len(get_args(alias))] == get_args(alias):
            return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _say(arguments[0])
    if origin is Literal:
        return " ".join(f"`{json.dumps(value)}`" for value in arguments)
    if origin is tuple:
        return f"array of: {_say(arguments[0])}"
    if origin is UnionType:
        return _say(arguments[0])
    return _WORDS.get(annotation) or str(annotation.__name__)


def _toml(value: object, kind: str) -> str:
    """Write a default as a file would."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if kind.startswith("duration") and isinstance(value, float):
        return json.dumps(_duration(value))
    if kind == "size" and isinstance(value, int):
        unit, factor = next((unit, factor) for unit, factor in _SIZES.items() if value % factor == 0)
        return json.dumps(f"{value // factor}{unit}")
    if isinstance(value, (tuple, frozenset)):
        return f"[{', '.join(_toml(one, '') for one in value)}]"
    if isinstance(value, (BrokerUrl, Path)):
        return json.dumps(str(value))
    return json.dumps("" if value is None else value)


def _duration(seconds: float) -> str:
    fits = ((unit, factor) for unit, factor in _UNITS.items() if seconds % factor == 0 and seconds >= factor)
    unit, factor = next(fits, ("s", 1))
    return f"{seconds / factor:g}{unit}"


def _file() -> Iterator[str]:
    """Write the lines of a file in which each key that has a default says it, and one route with what it must have."""
    for name, model in TABLES.items():
        if not any(field.is_required() for field in model.model_fields.values()):
            yield f"[{name}]"
            yield from _defaults(name, model)
            yield ""
    yield from ("[[route]]", 'name = "orders"', 'path = "/orders"', 'queue = "orders"')
    yield from _defaults("route", ARRAYS["route"])


def _defaults(table: str, model: type[Section]) -> Iterator[str]:
    for key, field in model.model_fields.items():
        if not field.is_required() and (table, key) not in _NOT_IN_THE_FILE:
            yield f"{field.alias or key} = {_toml(field.default, _kind(model, key))}"
