"""A walk over all schemas of a document, when it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from referencing.exceptions import Unresolvable
from referencing.jsonschema import EMPTY_REGISTRY, specification_with

from bridge.schema.patterns import compile_pattern
from bridge.schema.text import pointers, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from referencing._core import Resolver  # it is given out, and has no public name

    from bridge.schema.patterns import Pattern

_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")


@dataclass(frozen=True, slots=True)
class Found:
    """What a walk has found.

    ``places``: the JSON Pointers of all schemas; ``references``: by such a pointer and the keyword what is referred to,
    as a pointer or, if it is true or false, itself.
    """

    places: frozenset[str]
    references: Mapping[str, Mapping[str, str | bool]]
    patterns: Mapping[str, Pattern]


class Survey:
    """Walks over all schemas of a document: resolves each reference, compiles each pattern."""

    def __init__(self, root: dict[str, Any] | bool, draft: str) -> None:
        self._pointers = dict(pointers(root))
        self._references: dict[str, dict[str, str | bool]] = {}
        self._patterns: dict[str, Pattern] = {}
        self._keywords: set[str] = set()
        self._specification = specification_with(draft)
        resource = self._specification.create_resource(root)
        self._waiting = [(resource, EMPTY_REGISTRY.resolver_with_root(resource))]

    def made(self) -> Found:
        """Make the walk. Raises ValueError with a sentence that says what is wrong, and where."""
        seen: set[int] = set()
        while self._waiting:
            resource, resolver = self._waiting.pop()
            schema = resource.contents
            if not isinstance(schema, dict) or id(schema) in seen:
                continue
            seen.add(id(schema))
            self._look(schema, resolver)
            self._waiting += ((each, resolver.in_subresource(each)) for each in resource.subresources())
        if {"unevaluatedProperties", "patternProperties"} <= self._keywords:
            raise ValueError(
                "uses unevaluatedProperties and patternProperties, which together cannot be checked within bounds; "
                "additionalProperties may do"
            )
        places = frozenset(self._pointers[each] for each in seen)
        return Found(places, self._references, self._patterns)

    def _look(self, schema: dict[str, Any], resolver: Resolver[Any]) -> None:
        at = self._pointers[id(schema)]
        if "$schema" in schema:
            raise ValueError(f"names another $schema at {at}; only the whole file can have one")
        self._keywords |= schema.keys()
        for keyword in _REFERENCES:
            reference = schema.get(keyword)
            if not isinstance(reference, str):
                continue
            try:
                resolved = resolver.lookup(reference)
            except Unresolvable:
                raise ValueError(
                    f"refers to {shown(reference)} at {at or 'the top'}, which is not in the file; nothing is fetched"
                ) from None
            target = resolved.contents
            if not isinstance(target, (dict, bool)):
                raise ValueError(f"refers to {shown(reference)} at {at or 'the top'}, which is no schema")  # noqa: TRY004 - a value of the file
            self._references.setdefault(at, {})[keyword] = (
                target if isinstance(target, bool) else self._pointers[id(target)]
            )
            self._waiting.append((self._specification.create_resource(target), resolved.resolver))
        own = schema.get("pattern")
        by_name = schema.get("patternProperties")
        for pattern in ([own] if isinstance(own, str) else []) + list(by_name if isinstance(by_name, dict) else []):
            self._patterns[pattern] = compile_pattern(pattern, at)
