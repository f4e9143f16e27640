"""The corpus: inputs with a name in ``corpus/TARGET``, and those that fuzzing found, a line of base64 each."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
_FOUND = "found.base64"
LONGEST = 512  # bytes of one that is kept
MOST = 150  # of a target


def kept(target: str) -> Iterator[tuple[str, bytes]]:
    """Name and input of each."""
    for path in sorted((CORPUS / target).iterdir()):
        if path.name != _FOUND:
            yield path.name, path.read_bytes()
            continue
        for number, line in enumerate(path.read_text().split()):
            yield f"found {number}", base64.b64decode(line)


def keep(target: str, inputs: Iterable[bytes]) -> int:
    """Add inputs to what was found, the shortest of all; return how many there are now."""
    path = CORPUS / target / _FOUND
    before = [base64.b64decode(line) for line in path.read_text().split()] if path.exists() else []
    named = {one.read_bytes() for one in path.parent.iterdir() if one != path}
    fit = {one for one in (*before, *inputs) if len(one) <= LONGEST} - named
    found = sorted(fit, key=lambda one: (len(one), one))[:MOST]
    path.write_text("".join(f"{base64.b64encode(one).decode()}\n" for one in found))
    return len(found)
