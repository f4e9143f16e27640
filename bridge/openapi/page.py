"""An HTML page of an OpenAPI document of ours: whole in itself, without a script it lacks only the copy buttons."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from bridge.openapi.curl import curl
from bridge.problems import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

BASE: Final = "http://bridge.invalid"
"""Stands for where the bridge is, which is known only when the page is asked for."""

_CODE: Final = re.compile(r"`([^`]*)`")
_RAN: Final[Mapping[str, str]] = {"no": "did not run", "maybe": "may have run", "yes": "has run"}


@cache
def assets() -> tuple[str, str]:
    """Return the page's style and its script."""
    folder = files("bridge.openapi")
    return folder.joinpath("page.css").read_text("utf-8"), folder.joinpath("page.js").read_text("utf-8")


@cache
def content_security_policy() -> str:
    """Return the header's value: nothing but the page's own style and script, and nothing from anywhere else."""
    style, script = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in assets())
    return (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def make_page(document: Mapping[str, Any]) -> str:
    """Return the page; :data:`BASE` stands where the bridge's address belongs, unless a public URL is known."""
    style, script = assets()
    info = document["info"]
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    server = document["servers"][0]["url"]
    base = BASE if server == "/" else server
    return "".join(
        (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>API of this bridge</title><style>{style}</style></head><body>",
            '<a class="skip" href="#routes">Skip to the routes</a><div class="frame">',
            _header(info, base, len(operations)),
            _navigation(operations),
            '<main id="routes">',
            *(_section(document, path, method, operation, base) for path, method, operation in operations),
            "" if operations else "<p>No route is configured.</p>",
            "</main>",
            f"<footer>{escape(info['title'])} {escape(info['version'])}</footer></div>",
            f"<script>{script}</script></body></html>\n",
        )
    )


def _header(info: Mapping[str, Any], base: str, count: int) -> str:
    paragraphs = "".join(f"<p>{_prose(part)}</p>" for part in info["description"].split("\n\n"))
    routes = "1 operation" if count == 1 else f"{count} operations"
    return (
        f'<header><h1>API of this bridge</h1><p class="soft"><code>{escape(base)}</code>, {routes}, '
        f'<a href="openapi.json">OpenAPI document</a></p>{paragraphs}</header>'
    )


def _navigation(operations: Iterable[tuple[str, str, Mapping[str, Any]]]) -> str:
    items = "".join(
        f'<li><a href="#{escape(operation["operationId"])}">{_method(method)}<code>{_path(path)}</code></a></li>'
        for path, method, operation in operations
    )
    return f'<nav aria-label="Routes"><ul>{items}</ul></nav>'


def _section(document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any], base: str) -> str:
    name = escape(operation["operationId"])
    return "".join(
        (
            f'<section id="{name}" aria-labelledby="{name}-title">',
            f'<h2 id="{name}-title">{_method(method)}<code>{_path(path)}</code></h2>',
            f'<p class="soft">{escape(operation["summary"])}</p><p>{_prose(operation["description"])}</p>',
            '<div class="command"><pre><code>',
            escape(curl(document, path, method, operation, base)),
            '</code></pre><button class="copy" type="button">Copy</button></div>',
            _body(document, operation),
            _details("Parameters and headers", _rows(_parameters(document, operation))),
            "<h3>Answers</h3>",
            _rows(_replies(operation["responses"])),
            _problems(document, operation),
            "</section>",
        )
    )


def _body(document: Mapping[str, Any], operation: Mapping[str, Any]) -> str:
    body = operation.get("requestBody")
    if body is None:
        return ""
    types = ", ".join(_code(name) if name != "*/*" else "any type" for name in body["content"])
    schema = next(iter(body["content"].values())).get("schema", {})
    told = ""
    if "$ref" in schema:
        text = json.dumps(_resolved(document, schema), indent=2, ensure_ascii=False)
        told = _details("JSON Schema of the body", f'<pre tabindex="0"><code>{escape(text)}</code></pre>')
    needed = "" if body["required"] else '<span class="ran">may be empty</span>'
    return f"<h3>Body</h3>{_rows([(types, _prose(body['description']) + needed)])}{told}"


def _parameters(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for given in operation["parameters"]:
        parameter = _resolved(document, given)
        place = "required" if parameter.get("required") else "optional"
        pattern = parameter["schema"].get("pattern")
        rule = f" {_code(pattern)}" if pattern and parameter["in"] == "path" else ""
        yield (
            f'{_code(parameter["name"])}<span class="ran">{parameter["in"]}, {place}</span>',
            _prose(parameter["description"]) + rule,
        )


def _replies(responses: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for status, response in responses.items():
        if status.startswith("2"):
            name = "The worker's reply" if status == "2XX" else f'<span class="status">{escape(status)}</span>'
            yield name, _prose(response["description"])


def _problems(document: Mapping[str, Any], operation: Mapping[str, Any]) -> str:
    rows = []
    for status, given in operation["responses"].items():
        content = _resolved(document, given).get("content", {}).get(CONTENT_TYPE)
        for schema in _alternatives(content["schema"] if content else {}):
            members = _resolved(document, schema)["properties"]
            url = members["type"]["const"]
            name = f'<a href="{escape(url.lstrip("/"))}">{escape(url.rpartition("/")[2])}</a>'
            ran = ", or ".join(_RAN[each] for each in members.get("ran", {}).get("enum", ()))
            meaning = _prose(_resolved(document, schema)["description"])
            rows.append(
                (
                    f'<span class="status">{escape(status)}</span> {name}',
                    f'{meaning}<span class="ran">The work {ran}.</span>' if ran else meaning,
                )
            )
    return _details(f"{len(rows)} problems the bridge itself may answer", _rows(rows))


def _alternatives(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if not schema:
        return []
    return list(schema.get("oneOf", [schema]))


def _resolved(document: Mapping[str, Any], given: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a part of the document
    if "$ref" not in given:
        return given
    part: Any = document
    for name in given["$ref"].removeprefix("#/").split("/"):
        part = part[name]
    return part


def _rows(rows: Iterable[tuple[str, str]]) -> str:
    return f'<dl class="rows">{"".join(f"<div><dt>{name}</dt><dd>{told}</dd></div>" for name, told in rows)}</dl>'


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def _method(method: str) -> str:
    return f'<span class="method {method}">{method.upper()}</span>'


def _path(path: str) -> str:
    return escape(path).replace("/", "/<wbr>")


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _prose(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text))
