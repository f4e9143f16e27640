"""A call of an operation as a command to try."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_PARAMETER: Final = re.compile(r"\{([^}]*)\}")


def curl(document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any], base: str) -> str:
    """Return the command; a parameter is its name in capitals, a body is a sample or the name of a file."""
    url = base + _PARAMETER.sub(lambda match: match[1].upper(), path)
    words = ["curl", "-I" if method == "head" else "-i", shlex.quote(url)]
    if method not in ("get", "head", "post") or (method == "post" and "requestBody" not in operation):
        words[2:2] = ["-X", method.upper()]
    lines = [" ".join(words)]
    lines += [
        _header(parameter["name"], parameter["example"])
        for parameter in operation["parameters"]
        if parameter.get("required") and parameter["in"] == "header"
    ]
    body = operation.get("requestBody")
    if body is not None:
        media_type, content = next(iter(body["content"].items()))
        sent = media_type if media_type != "*/*" else "application/json"
        lines += [_header("Content-Type", sent), _data(document, sent, content.get("schema", {}))]
    return " \\\n  ".join(lines)


def _header(name: str, value: str) -> str:
    return f"-H {shlex.quote(f'{name}: {value}')}"


def _data(document: Mapping[str, Any], media_type: str, schema: Mapping[str, Any]) -> str:
    if media_type == "application/json" or media_type.endswith("+json"):
        return f"-d {shlex.quote(json.dumps(_sample(document, schema), ensure_ascii=False))}"
    if media_type.startswith("text/"):
        return "-d 'some text'"
    return f"--data-binary @FILE.{media_type.partition('/')[2].rpartition('.')[2]}"


def _sample(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
    """Return the first example of a schema, or something that looks like a body."""
    name = schema.get("$ref", "").rpartition("/")[2]
    own = document["components"]["schemas"].get(name, {}) if name else schema
    if isinstance(own, bool):
        return {}
    examples = own.get("examples") or ([own["default"]] if "default" in own else [])
    return examples[0] if examples else {}
