"""Writes the figures of a long run into docs/reliability.md: ``python -m tests.faults.report DIR``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from bench.machine import facts

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- figures -->\n", "<!-- /figures -->\n"
ANSWERED = ("200", "202")


def read(folder: Path) -> list[dict[str, Any]]:
    """All figures of a folder, in the order of their names."""
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]


def rendered(runs: list[dict[str, Any]], machine: dict[str, str]) -> str:
    """The figures as Markdown. Only what was run is in it."""
    calls = [sum(run["calls"].values()) for run in runs]
    jobs = sum(run["kinds"].get("job", 0) + run["kinds"].get("keyed", 0) for run in runs)
    faults = sum((Counter(run["faults"]) for run in runs), Counter[str]())
    days = sorted({run["day"] for run in runs})
    seconds = sum(run["seconds"] for run in runs)
    head = (
        f"{sum(calls):,} calls, {jobs:,} of them jobs, {sum(run['executions'] for run in runs):,} executions, "
        f"{sum(faults.values()):,} faults, **{sum(run['violations'] for run in runs)} violations**, in "
        f"{seconds / 60:.0f} minutes; {' to '.join(dict.fromkeys((days[0], days[-1])))}; {machine['broker']}; "
        f"{machine['processor']}, {machine['memory']}, Python {machine['Python']}, shared by callers, bridges, "
        "workers, broker, proxy, and whatever else the machine had to do."
    )
    lines = ["| run | calls | answered by workers | jobs accepted | refused or failed | faults | violations | s |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for run, count in zip(runs, calls, strict=True):
        ended = run["calls"]
        others = count - sum(ended.get(status, 0) for status in ANSWERED)
        what = ", ".join(f"{kind} ×{number:,}" for kind, number in sorted(run["faults"].items()))
        name = run["scenario"] + ("" if run["form"] == "long" else f" ({run['form']})")
        lines.append(
            f"| {name} | {count:,} | {ended.get('200', 0):,} | {ended.get('202', 0):,} | {others:,} | {what} "
            f"| {run['violations']} | {run['seconds']:.0f} |"
        )
    return "\n".join([head, "", *lines, ""])


def with_figures(page: str, figures: str) -> str:
    """The page with these figures in the place of those that are there."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + figures + END + after


def main() -> None:
    runs = read(Path(sys.argv[1]))
    PAGE.write_text(with_figures(PAGE.read_text(), rendered(runs, facts())))


if __name__ == "__main__":
    main()
