"""A JSON Schema ready to be applied: all that needs the library, which is loaded only where a route has a schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jsonschema import exceptions, validators
from referencing.jsonschema import EMPTY_REGISTRY

from bridge.schema.keywords import bounded, explain
from bridge.schema.survey import Survey
from bridge.schema.text import pointer, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema.protocols import Validator

    from bridge.schema.work import Work

_DEFAULT_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_DRAFTS: Final = (
    _DEFAULT_DRAFT,
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema",
    "http://json-schema.org/draft-06/schema",
    "http://json-schema.org/draft-04/schema",
)


class Compiled:
    """One schema's validator. ``draft``, ``places`` and ``references`` are what :class:`BodySchema` tells of it."""

    def __init__(self, document: dict[str, Any] | bool, work: Work) -> None:
        """``work``: the budget that each check has. Raises ValueError as :class:`BodySchema` does."""
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
        self._validator = bounded(base, work, found.patterns)(root, registry=EMPTY_REGISTRY)

    def errors(self, value: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any JSON value
        """Yield where a JSON value breaks the schema, as a JSON Pointer, and what it must be there."""
        for error in self._validator.iter_errors(value):
            yield pointer(error.absolute_path), explain(error)


def _draft_of(document: dict[str, Any] | bool) -> str:
    named = document.get("$schema", _DEFAULT_DRAFT) if isinstance(document, dict) else _DEFAULT_DRAFT
    for draft in _DRAFTS:
        if isinstance(named, str) and named.removesuffix("#") == draft:
            return draft
    raise ValueError(f"names in $schema {shown(named)}, which is none of {', '.join(_DRAFTS)}")
