"""Request bodies held against a JSON Schema."""

from bridge.schema.checking import BodyChecks
from bridge.schema.document import BodyError, BodySchema

__all__ = ["BodyChecks", "BodyError", "BodySchema"]
