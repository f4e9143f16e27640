"""From pydantic's errors to plain sentences that name the key and what to do."""

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from pydantic_core import ErrorDetails

from .faults import Finding, Location, show
from .models import ARRAYS, TABLES, Document, Section, keys_of

_SECRETS = frozenset({"passcode", "key_sha256", "url"})
"""Last parts of locations whose values no message may show."""
_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "password": "passcode_file",
        "user": "login",
        "username": "login",
        "port": "bind",
        "host": "bind",
        "concurrency": "max_held",
    }
)
"""Words from other programs' configurations, and what they are called here."""

Context = Mapping[str, Any]  # pydantic's own type for it
_SENTENCES: Mapping[str, Callable[[Context], str]] = MappingProxyType(
    {
        "missing": lambda _: "is required",
        "string_type": lambda _: "must be a string",
        "int_type": lambda _: "must be a whole number",
        "float_type": lambda _: "must be a number",
        "finite_number": lambda _: "must be a number",
        "int_from_float": lambda _: "must be a whole number",
        "bool_type": lambda _: "must be true or false",
        "model_type": lambda _: "must be a table",
        "greater_than_equal": lambda ctx: f"must be {ctx['ge']} or more",
        "less_than_equal": lambda ctx: f"must be {ctx['le']} or less",
        "string_too_short": lambda _: "must not be empty",
        "string_too_long": lambda ctx: f"must have at most {ctx['max_length']} characters",
        "literal_error": lambda ctx: f"must be {_toml_choices(ctx['expected'])}",
        "value_error": lambda ctx: str(ctx["error"]),
    }
)
_WITHOUT_VALUE = frozenset({"missing", "value_error"})


def finding(error: ErrorDetails) -> Finding:
    """Say in plain words what one of pydantic's errors means, and where."""
    at: Location = error["loc"]
    kind = error["type"]
    if kind == "extra_forbidden":
        return Finding(at, unknown_key(at))
    if kind == "value_error" and at in {(name,) for name in ARRAYS}:
        return Finding(at, f"must be an array of tables: write [[{at[0]}]]")
    if kind == "model_type" and len(at) == 1:
        return Finding(at, f"must be a table: write [{at[0]}]")
    context = error.get("ctx", {})
    reason = _SENTENCES[kind](context) if kind in _SENTENCES else error["msg"]
    if kind not in _WITHOUT_VALUE:
        reason += _value_shown(at, error["input"])
    if kind == "literal_error" and isinstance(error["input"], str):
        reason += did_you_mean(error["input"], re.findall(r"'([^']+)'", context["expected"]))
    return Finding(at, reason)


def unknown_key(at: Location) -> str:
    """Why the key at `at` is refused, with the key that was meant if that can be told."""
    *_, key = at
    model = _model_of(at[:-1])
    if model is None or not isinstance(key, str):
        return "is not a key of this version"
    known = [name for name in keys_of(model) if name != "passcode"]
    if _ELSEWHERE.get(key) in known:
        return f"is not a key of this version; did you mean {show(_ELSEWHERE[key])}?"
    if hint := did_you_mean(key, known):
        return f"is not a key of this version{hint}"
    homes = [f"[{name}]" for name, table in TABLES.items() if key in keys_of(table)]
    homes += [f"[[{name}]]" for name, table in ARRAYS.items() if key in keys_of(table)]
    return "is not a key of this version" + (f" here; it belongs to {' or '.join(homes)}" if homes else "")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Write the tail of a sentence that names the known word nearest to `word`, or nothing."""
    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {show(near[0])}?" if near else ""


def _model_of(table: Location) -> type[Section] | None:
    match table:
        case ():
            return Document
        case (str(name),):
            return TABLES.get(name)
        case (str(name), int()):
            return ARRAYS.get(name)
        case _:
            return None


def _value_shown(at: Location, value: object) -> str:
    return "" if at[-1] in _SECRETS else f" (is {show(value)})"


def _toml_choices(expected: str) -> str:
    """Pydantic writes the choices as Python does; write them as TOML does."""
    return expected.replace("'", '"').replace("False", "false").replace("True", "true")
