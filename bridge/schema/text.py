"""JSON texts, read strictly, and places in them (JSON Pointer, RFC 6901)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Json = Any  # what json.loads returns
_LONGEST_SHOWN: Final = 120  # characters


def parse(text: bytes) -> Json:
    """Read JSON (RFC 8259) strictly. Raises ValueError with a sentence.

    A name that is there twice is refused: which of the two a worker's parser takes nobody knows, and only one would
    have been checked (RFC 8259, 4).
    """
    try:
        return json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise ValueError("is not JSON: it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg}, at line {error.lineno}, column {error.colno}") from None
    except _JsonError:
        raise
    except ValueError:  # of int(): Python reads no more than 4,300 digits
        raise ValueError("holds a number with too many digits") from None


class _JsonError(ValueError):
    """JSON by the letter, but nothing to rely on."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _JsonError(f"has {shown(twice)} twice in one object")
    return members


def _no_constant(name: str) -> Json:
    raise _JsonError(f"is not JSON: {name} is no number")


def pointers(node: Json, at: str = "") -> Iterator[tuple[int, str]]:
    """Give the JSON Pointer of each object and array, by identity."""
    if isinstance(node, dict):
        yield id(node), at
        for name, value in node.items():
            yield from pointers(value, f"{at}/{escape(name)}")
    elif isinstance(node, list):
        yield id(node), at
        for index, value in enumerate(node):
            yield from pointers(value, f"{at}/{index}")


def escape(name: str) -> str:
    """Write a name as a part of a JSON Pointer (RFC 6901, 3)."""
    return name.replace("~", "~0").replace("/", "~1")


def pointer(path: Iterable[str | int]) -> str:
    """Write a JSON Pointer; the empty one is the whole."""
    return "".join(f"/{escape(str(part))}" for part in path)


def shown(value: object) -> str:
    """Write a value for a message, short."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"
