"""``scripts/bench``: one command, one table."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from bench import generator, machine
from bench.bars import judge
from bench.options import FULL, QUICK
from bench.parts import calls, death, features, keyed, memory, overload, processes, start, stock
from bench.results import Results
from bench.tables import report

if TYPE_CHECKING:
    from bench.options import Options

PARTS = {
    "calls": calls,
    "processes": processes,
    "memory": memory,
    "stock": stock,
    "features": features,
    "keyed": keyed,
    "death": death,
    "start": start,
    "overload": overload,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure the bridge on this machine.")
    parser.add_argument("--quick", action="store_true", help="about three minutes instead of a quarter of an hour")
    parser.add_argument("--only", metavar="PART", choices=PARTS, action="append", help=f"one of: {', '.join(PARTS)}")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every single figure there")
    parser.add_argument("--own-load", action="store_true", help="do not use wrk even if it is there")
    return parser.parse_args()


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


async def _measure(options: Options, names: list[str], own_load: bool) -> Results:
    load = await generator.choose(own_load)
    results = Results(machine.facts(), load.name)
    try:
        for name in names:
            setattr(results, name, await PARTS[name].measure(options, load, _tell))
    finally:
        await load.stop()
    return results


def main() -> int:
    """Run; the exit code says whether it ran, not whether all bars were met."""
    arguments = _arguments()
    warning = machine.warning()
    if warning is not None:
        _tell(f"warning: {warning}")
    began = monotonic()
    try:
        results = asyncio.run(
            _measure(QUICK if arguments.quick else FULL, arguments.only or list(PARTS), arguments.own_load)
        )
    except KeyboardInterrupt:
        _tell("stopped; nothing was left running")
        return 130
    for what, measured in (("calls", results.calls), ("processes", results.processes)):
        if measured is not None:
            results.machine[f"taken by others during the {what}"] = f"{measured.others():.0%}"
    if warning is not None:
        results.machine["warning"] = warning
    bars = judge(results)
    print("\n\n".join(report(results, bars)))
    if arguments.json:
        document = asdict(results) | {"bars": [asdict(bar) for bar in bars]}
        arguments.json.write_text(json.dumps(document, indent=1))
    _tell(f"took {monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
