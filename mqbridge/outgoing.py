"""A request as the command line describes it."""

from __future__ import annotations

import json
import mimetypes
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mqbridge.console import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_URL: Final = re.compile(r"(https?://[^/?#]+)(/[^#]*)?")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is sent, and where."""

    urls: Sequence[str]
    path: str
    method: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def outgoing(
    urls: Sequence[str],
    path: str,
    method: str,
    headers: Sequence[str],
    body: str | None,
    file: str | None,
    media_type: str | None,
) -> Outgoing:
    """Put it together; ``path`` may be a whole URL, which goes before ``urls``. Raises :class:`CommandError`."""
    whole = _URL.fullmatch(path)
    if whole:
        urls, path = [whole[1]], whole[2] or "/"
    if not path.startswith("/"):
        raise CommandError(f"{path!r}: must be a path, as /words, or a URL", 2)
    if not _NAME.fullmatch(method):
        raise CommandError(f"--method {method!r} is no HTTP method", 2)
    named = dict(_header(line) for line in headers)
    data, usual = _body(body, file)
    if media_type or (data and "content-type" not in {name.lower() for name in named}):
        named["Content-Type"] = media_type or usual
    return Outgoing(urls, path, method.upper(), named, data)


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not _NAME.fullmatch(name) or not value.strip().isprintable() or not value.isascii():
        raise CommandError(f"--header {line!r}: must be NAME: VALUE", 2)
    return name, value.strip()


def _body(text: str | None, file: str | None) -> tuple[bytes, str]:
    """Return the body and the media type that it looks like."""
    if text is not None and file is not None:
        raise CommandError("give either BODY or --file", 2)
    if file is None:
        return (text or "").encode("utf-8", "surrogateescape"), _looks_like(text or "")
    if file == "-":
        return sys.stdin.buffer.read(), "application/octet-stream"
    try:
        return Path(file).read_bytes(), mimetypes.guess_type(file)[0] or "application/octet-stream"
    except OSError as error:
        raise CommandError(f"--file {file}: {error.strerror}", 2) from error


def _looks_like(text: str) -> str:
    if text[:1] in ("{", "["):
        try:
            json.loads(text)
        except ValueError:
            pass
        else:
            return "application/json"
    return "text/plain; charset=utf-8"
