"""Path templates of routes: `/thumbnails/{size}`. Pure checks and the shape two paths may share."""

import re

from .faults import show

_LITERAL = re.compile(r"[A-Za-z0-9._~-]+")
_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LONGEST_PARAMETER = 64  # the message contract's limit for `path_NAME`

RESERVED = frozenset({"jobs", "-", "problems", "docs", "openapi.json"})
"""First segments of the bridge's own pages."""


def check_path(path: str) -> str:
    """`path` unchanged if it is a template that routes may have; ValueError says why not."""
    if not path.startswith("/"):
        raise ValueError(f"must begin with / (is {show(path)})")
    if path == "/":
        return path
    if path.endswith("/"):
        raise ValueError(f"must not end with / (is {show(path)})")
    segments = path[1:].split("/")
    names = [name for segment in segments if (name := _parameter(segment, path))]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"has the parameter {{{name}}} twice (is {show(path)})")
    if segments[0] in RESERVED:
        raise ValueError(f"is under /{segments[0]}, which is the bridge's own (is {show(path)})")
    return path


def shape(path: str) -> str:
    """Reduce `path` to what it matches, whatever its parameters are called: `/a/{x}` and `/a/{y}` are equal."""
    return _PARAMETER.sub("{}", path)


def _parameter(segment: str, path: str) -> str | None:
    """Return the parameter's name, or None for a literal segment."""
    if match := _PARAMETER.fullmatch(segment):
        if len(match[1]) > _LONGEST_PARAMETER:
            raise ValueError(f"has a parameter name longer than {_LONGEST_PARAMETER} characters")
        return match[1]
    if segment in {".", ".."}:  # RFC 3986, 5.2.4: clients take these away, so nobody could call it
        raise ValueError(f"must not have {segment} as a segment (is {show(path)})")
    if not _LITERAL.fullmatch(segment):
        what = show(segment) if segment else "an empty segment"
        msg = f"has {what}: each segment is either letters, digits and . _ ~ - or one {{name}} (is {show(path)})"
        raise ValueError(msg)
    return None
