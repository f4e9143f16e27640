"""A JSON Schema of a file as a component of the document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.schema.text import escape

if TYPE_CHECKING:
    from bridge.schema import BodySchema

_DEFAULT_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
# Names by which schemas are referred to. Here each reference is a pointer, which all tools understand.
_NAMES: Final = frozenset({"$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor"})
_REFERENCES: Final = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})


def embedded(schema: BodySchema, name: str) -> dict[str, Any] | bool:
    """Return a copy whose references lead to where it will be: ``#/components/schemas/NAME``."""
    if isinstance(schema.document, bool):
        return schema.document
    copy: dict[str, Any] = _Copy(schema, f"#/components/schemas/{name}").of(schema.document, "")
    if schema.draft != _DEFAULT_DIALECT:
        copy["$schema"] = schema.document["$schema"]
    return copy


class _Copy:
    def __init__(self, schema: BodySchema, root: str) -> None:
        self._schema = schema
        self._root = root

    def of(self, node: Any, at: str) -> Any:  # noqa: ANN401 - any JSON value
        if isinstance(node, list):
            return [self.of(item, f"{at}/{index}") for index, item in enumerate(node)]
        if not isinstance(node, dict):
            return node
        if at not in self._schema.places:  # properties, $defs, an enum's object: no schema itself
            return {name: self.of(value, f"{at}/{escape(name)}") for name, value in node.items()}
        copy = {
            name: self.of(value, f"{at}/{escape(name)}")
            for name, value in node.items()
            if name not in _NAMES | _REFERENCES
        }
        targets = self._schema.references.get(at, {}).values()
        for target in targets:
            reference = {"$ref": self._root + target} if isinstance(target, str) else target
            if "$ref" in copy or isinstance(reference, bool):
                copy["allOf"] = [*copy.get("allOf", []), reference]
            else:
                copy |= reference
        return copy
