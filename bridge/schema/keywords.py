"""JSON Schema's keywords within a budget, and what is said of a value that breaks one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jsonschema import exceptions, validators

from bridge.schema.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jsonschema.protocols import Validator

    from bridge.schema.patterns import Pattern
    from bridge.schema.work import Work

Given = Any  # the library has no types for what it hands to a keyword: its validator, a rule, a JSON value


def bounded(base: type[Validator], work: Work, compiled: Mapping[str, Pattern]) -> Callable[..., Validator]:
    """Return a validator class like ``base`` whose every keyword costs a step."""
    own = _Keywords(work, compiled)
    keywords = dict(base.VALIDATORS)
    keywords["uniqueItems"] = own.unique_items
    keywords["pattern"] = own.pattern
    if "additionalProperties" in keywords:
        keywords["additionalProperties"] = own.additional_properties
    keywords["patternProperties"] = own.pattern_properties
    keywords["required"] = own.required

    def counted(keyword: Callable[..., Any]) -> Callable[..., Any]:
        def count(validator: Given, value: Given, instance: Given, schema: Given) -> Given:
            work.spend()
            return keyword(validator, value, instance, schema)

        return count

    made: Callable[..., Validator] = validators.extend(  # type: ignore[no-untyped-call]  # so are its stubs
        base, {name: counted(keyword) for name, keyword in keywords.items()}
    )
    return made


class _Keywords:
    """Keywords whose cost, or whose message, is not left to the library. Arguments as the library gives them."""

    def __init__(self, work: Work, compiled: Mapping[str, Pattern]) -> None:
        self._work = work
        self._compiled = compiled

    def pattern(
        self, validator: Given, pattern: str, instance: Given, _: Given
    ) -> Iterator[exceptions.ValidationError]:
        """Search, for as long as the budget allows."""
        if validator.is_type(instance, "string") and not self._work.search(self._compiled[pattern], instance):
            yield exceptions.ValidationError(f"must match {shown(pattern)}")

    def pattern_properties(
        self, validator: Given, by_pattern: Mapping[str, Any], instance: Given, _: Given
    ) -> Iterator[exceptions.ValidationError]:
        """Apply the schemas whose patterns the names match."""
        if not validator.is_type(instance, "object"):
            return
        for pattern, schema in by_pattern.items():
            for name, value in instance.items():
                if self._work.search(self._compiled[pattern], name):
                    yield from validator.descend(value, schema, path=name, schema_path=pattern)

    def additional_properties(
        self, validator: Given, additional: Given, instance: Given, schema: Mapping[str, Any]
    ) -> Iterator[exceptions.ValidationError]:
        """Apply a schema to the members that no other keyword names."""
        if not validator.is_type(instance, "object"):
            return
        known = schema.get("properties", {})
        by_pattern = [self._compiled[pattern] for pattern in schema.get("patternProperties", {})]
        for name, value in instance.items():
            if name in known or any(self._work.search(pattern, name) for pattern in by_pattern):
                continue
            if additional is False:
                error = exceptions.ValidationError("must not be there")
                error.path.appendleft(name)
                yield error
            else:
                yield from validator.descend(value, additional, path=name)

    def required(
        self, validator: Given, names: Given, instance: Given, _: Given
    ) -> Iterator[exceptions.ValidationError]:
        """Name what is missing."""
        if validator.is_type(instance, "object"):
            for name in names:
                if name not in instance:
                    yield exceptions.ValidationError(f"lacks {shown(name)}")

    def unique_items(
        self, validator: Given, unique: Given, instance: Given, _: Given
    ) -> Iterator[exceptions.ValidationError]:
        """Find twins in linear time."""
        if not unique or not validator.is_type(instance, "array"):
            return
        seen = set()
        for item in instance:
            self._work.spend()
            key = _key(item)
            if key in seen:
                yield exceptions.ValidationError("must not hold an item twice")
                return
            seen.add(key)


def _key(value: Given) -> Given:
    """Return what is equal for values that JSON Schema holds for equal (1 and 1.0 are, 1 and true are not)."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list):
        return tuple(map(_key, value))
    if isinstance(value, dict):
        return frozenset((name, _key(member)) for name, member in value.items())
    return value


_SAID_BY_US: Final = frozenset({"pattern", "required", "uniqueItems", "additionalProperties"})
_SENTENCES: Final[Mapping[str, str]] = {
    "const": "must be {}",
    "enum": "must be one of {}",
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be greater than {}",
    "exclusiveMaximum": "must be less than {}",
    "multipleOf": "must be a multiple of {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} items",
    "maxItems": "must have at most {} items",
    "minProperties": "must have at least {} members",
    "maxProperties": "must have at most {} members",
    "anyOf": "must fit at least one of the schemas of anyOf",
    "oneOf": "must fit exactly one of the schemas of oneOf",
    "not": "must not fit the schema of not",
    "contains": "must hold an item that fits the schema of contains",
    "dependentRequired": "lacks a member that another one needs",
}


def explain(error: Given) -> str:
    """Say what a value must be. The library's own sentences hold the value itself, however large it is."""
    keyword, rule = error.validator, error.validator_value
    if keyword in _SAID_BY_US:
        return str(error.message)
    if keyword == "type":
        return f"must be of type {' or '.join([rule] if isinstance(rule, str) else map(str, rule))}"
    if keyword in _SENTENCES:
        return _SENTENCES[keyword].format(shown(rule))
    return f"breaks the rule {keyword}" if keyword else "must not be there"
