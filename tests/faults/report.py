"""Writes the figures of a long run into docs/reliability.md: ``python -m tests.faults.report DIR``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from bench.machine import facts
from tests.faults.scenarios import BY_NAME

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- figures -->\n", "<!-- /figures -->\n"
ANSWERED = ("200", "202")


def read(folder: Path) -> list[dict[str, Any]]:
    """All figures of a folder, each scenario's together, in the order of the scenarios."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.glob("*.json")):
        run = json.loads(file.read_text())
        name = f"{run['scenario']} {run['form']}"
        found[name] = added(found[name], run) if name in found else run
    order = list(BY_NAME)
    return sorted(found.values(), key=lambda run: order.index(run["scenario"]))


def added(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Two runs of one scenario as one."""
    both = {**one, "day": max(one["day"], other["day"])}
    for name in ("calls", "kinds", "faults"):
        both[name] = dict(Counter(one[name]) + Counter(other[name]))
    for name in ("executions", "violations", "seconds"):
        both[name] = one[name] + other[name]
    return both


def rendered(runs: list[dict[str, Any]], machine: dict[str, str]) -> str:
    """The figures as Markdown. Only what was run is in it."""
    calls = [sum(run["calls"].values()) for run in runs]
    jobs = sum(run["kinds"].get("job", 0) + run["kinds"].get("keyed", 0) for run in runs)
    faults = sum((Counter(run["faults"]) for run in runs), Counter[str]())
    days = sorted({run["day"] for run in runs})
    seconds = sum(run["seconds"] for run in runs)
    answered = sum(run["calls"].get(status, 0) for run in runs for status in ANSWERED)
    head = (
        f"{sum(calls):,} calls, of which {answered:,} had a worker's answer or were accepted as jobs; the rest was "
        f"refused, lost with what was killed, or out of time; {jobs:,} of all were jobs. "
        f"{sum(run['executions'] for run in runs):,} executions, "
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
