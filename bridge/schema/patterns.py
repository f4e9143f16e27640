"""Regular expressions of JSON Schemas (ECMA-262) on an engine that can be stopped and lets other threads run."""

from __future__ import annotations

import json
from typing import Final

import regex

Pattern = regex.Pattern[str]

_TOKEN: Final = regex.compile(r"\\.|\[\^?|[\]$]", regex.DOTALL)
_OUTSIDE: Final = {"$": r"\Z", r"\d": "[0-9]", r"\D": "[^0-9]", r"\w": "[A-Za-z0-9_]", r"\W": "[^A-Za-z0-9_]"}
_END_OF_CLASS: Final = "]"
_INSIDE: Final = {r"\d": "0-9", r"\w": "A-Za-z0-9_"}


def compile_pattern(pattern: str, at: str = "") -> Pattern:
    """Compile a schema's pattern; ``at`` is where it stands, for the message.

    Raises ValueError with a sentence if it is none.
    """
    try:
        return regex.compile(translated(pattern))
    except regex.error as error:
        where = f" at {at}" if at else ""
        raise ValueError(
            f"has a pattern{where} that is no regular expression: {json.dumps(pattern)}: {error}"
        ) from None


def translated(pattern: str) -> str:
    r"""Write it as Python means it: there ``$`` would match before a last line feed, and ``\d`` every script's digits.

    ECMA-262, 22.2.2.4 (Assertion) and 22.2.2.9 (CharacterClassEscape).
    """
    in_class = False

    def replace(match: regex.Match[str]) -> str:
        nonlocal in_class
        token = match[0]
        if not in_class and token.startswith("["):
            in_class = True
        elif in_class and token == _END_OF_CLASS:
            in_class = False
        else:
            return (_INSIDE if in_class else _OUTSIDE).get(token, token)
        return token

    return _TOKEN.sub(replace, pattern)
