"""On which line each key of a TOML document stands. Pure; no part of it judges the document.

`tomllib` gives values and no positions. This reads the same text again, only far enough to know
where keys, tables and array elements begin, and relies on `tomllib` having found it valid.
"""

import re
import tomllib
from bisect import bisect_left
from collections.abc import Iterable

from .faults import Location

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\n#]*")
# Longest delimiter first. A multi-line string may end in up to two quotes of its own.
_STRINGS = {
    '"""': re.compile(r'"""(?:\\[\s\S]|[^\\])*?"{3,5}'),
    "'''": re.compile(r"'''[\s\S]*?'{3,5}"),
    '"': re.compile(r'"(?:\\.|[^"\\\n])*"'),
    "'": re.compile(r"'[^'\n]*'"),
}


def locate(text: str) -> dict[Location, int]:
    """Give the line, from 1, of each key, table and array element of the valid TOML `text`."""
    locator = _Locator(text)
    locator.document()
    return locator.lines


class _Locator:
    def __init__(self, text: str) -> None:
        self.lines: dict[Location, int] = {}
        self._text = text
        self._pos = 0
        self._newlines = [index for index, char in enumerate(text) if char == "\n"]
        self._lengths: dict[Location, int] = {}  # of the arrays of tables seen so far

    def document(self) -> None:
        table: Location = ()
        self._skip(_BLANK)
        while self._pos < len(self._text):
            if self._text[self._pos] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _header(self) -> Location:
        start = self._pos
        brackets = 2 if self._text.startswith("[[", start) else 1
        self._pos += brackets
        *parents, last = self._keys()
        self._pos += brackets
        table: Location = (*self._mark_all((), parents, start), last)
        if brackets == 2:
            index = self._lengths.get(table, 0)
            self._lengths[table] = index + 1
            self._mark(table, start)
            table = (*table, index)
        self._mark(table, start)
        return table

    def _pair(self, table: Location) -> None:
        start = self._pos
        path = self._mark_all(table, self._keys(), start)
        self._pos += 1  # the equals sign
        self._value(path)

    def _value(self, path: Location) -> None:
        self._skip(_SPACE)
        if self._text.startswith("[", self._pos):
            self._array(path)
        elif self._text.startswith("{", self._pos):
            self._inline_table(path)
        elif not self._string():
            self._skip(_SCALAR)

    def _array(self, path: Location) -> None:
        index = 0
        while not self._ended("]"):
            self._mark((*path, index), self._pos)
            self._value((*path, index))
            index += 1

    def _inline_table(self, path: Location) -> None:
        while not self._ended("}"):
            self._pair(path)

    def _ended(self, bracket: str) -> bool:
        """Step over the opening bracket or a comma; True, and past it, at the closing one."""
        self._skip(_BLANK)
        if self._text[self._pos] in "[{,":
            self._pos += 1
            self._skip(_BLANK)
        ended = self._text[self._pos] == bracket
        self._pos += ended
        return ended

    def _keys(self) -> list[str]:
        keys = [self._key()]
        while self._text[self._pos] == ".":
            self._pos += 1
            keys.append(self._key())
        return keys

    def _key(self) -> str:
        self._skip(_SPACE)
        start = self._pos
        quoted = self._string()
        if not quoted:
            self._skip(_BARE_KEY)
        raw = self._text[start : self._pos]
        self._skip(_SPACE)
        return str(tomllib.loads(f"key = {raw}")["key"]) if quoted else raw

    def _string(self) -> bool:
        for delimiter, pattern in _STRINGS.items():
            if self._text.startswith(delimiter, self._pos):
                self._skip(pattern)
                return True
        return False

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._pos)
        if match:
            self._pos = match.end()

    def _mark_all(self, path: Location, keys: Iterable[str], start: int) -> Location:
        """Mark each step of a dotted key; a step into an array of tables means its last element."""
        for key in keys:
            path = (*path, key)
            self._mark(path, start)
            if path in self._lengths:
                path = (*path, self._lengths[path] - 1)
        return path

    def _mark(self, path: Location, start: int) -> None:
        self.lines.setdefault(path, bisect_left(self._newlines, start) + 1)
