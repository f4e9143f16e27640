"""Jobs on a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from mqbridge.tables import add_row, make_table, print_table, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COLUMNS: Final = ("id", "state", "route", "caller", "created", "finished")


def print_jobs(jobs: Sequence[Mapping[str, Any]], *, more: bool) -> None:
    """Print what the operator's list has; ``more``: that there are others."""
    if not jobs:
        print("no jobs")
        return
    table = make_table(*_COLUMNS, right=["attempts"])
    for job in jobs:
        add_row(table, (_cell(job[name]) for name in (*_COLUMNS, "attempts")))
    print_table(table)
    if more:
        print("… and more: --limit says how many are shown")


def print_job(job: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one job, with its timeline where the operator asks."""
    if as_json:
        print(json.dumps(job))
        return
    for name, value in job.items():
        if value is not None and name not in ("timeline", "links"):
            text = json.dumps(value) if isinstance(value, (dict, list)) else str(value)
            print(f"{name.replace('_', ' ')}: {printable(text)}")
    for step in job.get("timeline", ()):
        print(f"  {step_line(step)}")


def step_line(step: Mapping[str, Any]) -> str:
    """Return one step of a timeline."""
    size = f"  {step['bytes']} bytes" if "bytes" in step else ""
    return f"{_cell(step.get('at'))}  {_cell(step['what'])}{size}"


def _cell(value: object) -> str:
    return "–" if value is None else printable(str(value))
