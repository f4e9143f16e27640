"""Console blocks: commands and what they print."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

PROMPT: Final = "$ "
CTRL_C: Final = "^C"
GAP: Final = "…"
# What differs from run to run, so that a page can show what a reader will see: ids, times, process ids.
_VARYING: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:\d\d)?"  # a time
    r"|\bpid \d+"
    r"|\b[0-9a-f]{32}(?:[0-9a-f]{32})?\b"  # an id, a SHA-256
    r"|\b\d+\.\d+(?:e-?\d+)?(?!\d)"  # a measured number
)


@dataclass(frozen=True)
class Step:
    """One command. ``ends``: what is shown of it ends with Ctrl-C, so the one that runs is to be ended."""

    command: str
    expected: tuple[str, ...]

    @property
    def ends(self) -> bool:
        return self.expected[-1:] == (CTRL_C,)

    @property
    def stays(self) -> bool:
        """Whether it runs until it is stopped, in a terminal of its own: ours, and programs that say ready."""
        ours = re.match(r"(\w+=\S+ )*mqbridge (broker|serve|work|forward)\b", self.command)
        return ours is not None or self.expected[-1:] == ("ready",)


def steps(text: str) -> list[Step]:
    """Read a block: lines after the prompt are commands (``\\`` at the end: they go on), others what is printed.

    Raises ValueError for output that no command has printed.
    """
    found: list[Step] = []
    command = ""
    expected: list[str] = []
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(PROMPT):
            if command:
                found.append(Step(command, tuple(expected)))
            command, expected = line[len(PROMPT) :], []
            while command.endswith("\\"):
                command += "\n" + next(lines)
        elif not command:
            raise ValueError(f"nothing has printed {line!r}: write '$ ' before a command")
        else:
            expected.append(line)
    if command:
        found.append(Step(command, tuple(expected)))
    return found


def matches(expected: tuple[str, ...], printed: list[str], *, whole: bool) -> bool:
    """Say whether a page's lines are what was printed.

    ``…`` stands for anything within a line and, alone, for any number of lines. ``whole``: nothing may come after.
    """
    if not expected:
        return True
    if expected[0].strip() == GAP:
        rest = range(len(printed) + 1)
        return any(matches(expected[1:], printed[skip:], whole=whole) for skip in rest) or len(expected) == 1
    if not printed or not _line(expected[0]).fullmatch(_VARYING.sub("#", printed[0].rstrip())):
        return False
    return matches(expected[1:], printed[1:], whole=whole) if len(expected) > 1 else not (whole and _any(printed[1:]))


def _any(lines: list[str]) -> bool:
    return any(line.strip() for line in lines)


def _line(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(_VARYING.sub("#", part)) for part in text.rstrip().split(GAP)))
