"""The JSON Schema of a route's bodies: checked once when the settings are read, then applied within bounds. No I/O.

What a caller sends decides how much work a check is: ``uniqueItems`` and recursive schemas can make a small body cost
hours. So each check has a budget of *steps*, one for each keyword that is applied to one value, and ends when it is
spent. Regular expressions run on an engine that can be stopped; ``uniqueItems`` is linear here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bridge.schema.text import parse
from bridge.schema.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_ERRORS: Final = 20


@dataclass(frozen=True, slots=True)
class BodyError:
    """What is wrong where: ``pointer`` is a JSON Pointer (RFC 6901) into the body."""

    pointer: str
    message: str


class BodySchema:
    """The schema of one file. Two are equal if their documents are."""

    def __init__(self, document: object, path: Path | None = None) -> None:
        """``document`` is parsed JSON. Raises ValueError with a sentence that says what is wrong, and where in it."""
        if not isinstance(document, (dict, bool)):
            raise ValueError("is no JSON Schema: that is an object, or true or false")  # noqa: TRY004 - see the docstring
        self.path = path
        self.document = document
        from bridge.schema.compiled import Compiled  # noqa: PLC0415 - 6 MiB that a bridge without schemas does not need

        self._work = Work()
        self._compiled = Compiled(document, self._work)
        self.draft = self._compiled.draft
        self.places, self.references = self._compiled.places, self._compiled.references

    @classmethod
    def parse(cls, text: bytes, path: Path | None = None) -> BodySchema:
        """Make one of a file's content. Raises ValueError as above."""
        try:
            return cls(parse(text), path)
        except RecursionError:
            raise ValueError("is nested too deeply") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BodySchema) and other.document == self.document

    def __hash__(self) -> int:
        return hash(json.dumps(self.document, sort_keys=True))

    def __repr__(self) -> str:
        return f"BodySchema({str(self.path) if self.path else '…'!r})"

    def errors(self, body: bytes, steps: int, pause: Callable[[], None] | None = None) -> list[BodyError]:
        """Check a body; return what is wrong, at most :data:`MAX_ERRORS`.

        ``pause`` is called every few steps. Raises :class:`~bridge.schema.work.TooMuchWorkError` when there have been
        ``steps`` of them.
        """
        self._work.begin(steps, pause)
        try:
            found: list[BodyError] = []
            for at, message in self._compiled.errors(parse(body)):
                found.append(BodyError(at, message))
                if len(found) == MAX_ERRORS:
                    break
        except ValueError as error:
            return [BodyError("", str(error))]
        except RecursionError:
            return [BodyError("", "is nested too deeply to be checked")]
        except OverflowError:  # of a division in `multipleOf`
            return [BodyError("", "holds a number that is too large to be checked")]
        return found
