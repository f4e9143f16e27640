"""The JSON Schema of a route's bodies: checked once when the settings are read, then applied within bounds. No I/O.

What a caller sends decides how much work a check is: ``uniqueItems`` and recursive schemas can make a small body cost
hours. So each check has a budget of *steps*, one for each keyword that is applied to one value, and ends when it is
spent. Regular expressions run on an engine that can be stopped; ``uniqueItems`` is linear here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from jsonschema import exceptions, validators
from referencing.jsonschema import EMPTY_REGISTRY

from bridge.schema.keywords import bounded, explain
from bridge.schema.survey import Survey
from bridge.schema.text import parse, pointer, shown
from bridge.schema.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jsonschema.protocols import Validator

MAX_ERRORS: Final = 20
_DEFAULT_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_DRAFTS: Final = (
    _DEFAULT_DRAFT,
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema",
    "http://json-schema.org/draft-06/schema",
    "http://json-schema.org/draft-04/schema",
)


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
        self.draft = _draft_of(document)
        base: type[Validator] = validators.validator_for({"$schema": self.draft})
        told = exceptions.best_match(base(base.META_SCHEMA).iter_errors(document))
        if told is not None:
            place = pointer(told.absolute_path) or "the top"
            raise ValueError(f"is no valid JSON Schema: {explain(told)}, at {place} (is {shown(told.instance)})")
        # Without it, or the library would take its own, unbounded class for whatever refers to the root.
        root = {k: v for k, v in document.items() if k != "$schema"} if isinstance(document, dict) else document
        found = Survey(root, self.draft).made()
        self.places, self.references = found.places, found.references
        self._work = Work()
        self._validator = bounded(base, self._work, found.patterns)(root, registry=EMPTY_REGISTRY)

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
            for error in self._validator.iter_errors(parse(body)):
                found.append(BodyError(pointer(error.absolute_path), explain(error)))
                if len(found) == MAX_ERRORS:
                    break
        except ValueError as error:
            return [BodyError("", str(error))]
        except RecursionError:
            return [BodyError("", "is nested too deeply to be checked")]
        except OverflowError:  # of a division in `multipleOf`
            return [BodyError("", "holds a number that is too large to be checked")]
        return found


def _draft_of(document: dict[str, Any] | bool) -> str:
    named = document.get("$schema", _DEFAULT_DRAFT) if isinstance(document, dict) else _DEFAULT_DRAFT
    for draft in _DRAFTS:
        if isinstance(named, str) and named.removesuffix("#") == draft:
            return draft
    raise ValueError(f"names in $schema {shown(named)}, which is none of {', '.join(_DRAFTS)}")
