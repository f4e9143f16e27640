"""What the kills have shown, as the table of docs/high-availability.md."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

DOCUMENT: Final = Path(__file__).parents[2] / "docs/high-availability.md"
BEGIN: Final = "<!-- kills: written by the tests of tests/ha -->\n"
END: Final = "<!-- end of kills -->\n"
ENOUGH: Final = 20  # kills; fewer are not written down
HEAD: Final = (
    "| shape | kills | broker answers: p50, max | bridge answers: p50, max | held calls | jobs | lost |\n"
    "|---|--:|--:|--:|---|--:|--:|\n"
)


@dataclass(slots=True)
class Kills:
    """Seconds from each kill to the other broker's first CONNECTED, and to the bridge's first reply to a new call."""

    shape: str
    taken_over: list[float] = field(default_factory=list)
    well: list[float] = field(default_factory=list)
    held: Counter[str] = field(default_factory=Counter)
    jobs: int = 0

    def row(self) -> str:
        """One row of the table; that no job was lost is what the test has asserted."""
        held = ", ".join(f"{number:,} {how}" for how, number in self.held.most_common())
        return (
            f"| `{self.shape}` | {len(self.well)} | {_two(self.taken_over)} | {_two(self.well)} | {held} "
            f"| {self.jobs:,} | 0 |\n"
        )


def _two(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.1f} s, {max(seconds):.1f} s"


def write(kills: Kills) -> None:
    """Print the row, and put it into the document if there were enough kills."""
    row = kills.row()
    print(f"\n{HEAD}{row}")
    if len(kills.well) < ENOUGH:
        return
    before, begin, rest = DOCUMENT.read_text().partition(BEGIN)
    table, end, after = rest.partition(END)
    assert begin, f"{DOCUMENT} has no place for the table"
    assert end, f"{DOCUMENT} has no place for the table"
    rows = {line.split("|")[1].strip(): f"{line}\n" for line in table.removeprefix(HEAD).splitlines()}
    rows[f"`{kills.shape}`"] = row
    DOCUMENT.write_text(before + BEGIN + HEAD + "".join(rows.values()) + END + after)
