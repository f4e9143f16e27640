"""Fuzz one target, guided by coverage: ``python -m tests.fuzz.run TARGET [--seconds N] [--keep]``.

With ``--keep`` what reached new code goes into the corpus, the shortest of it. An input that breaks a promise is
written to ``fuzz-TARGET-crash-…`` in the present folder, and the exit code is not 0.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.kept import keep, kept

ROOT = Path(__file__).parents[2]
LONGEST = 4_096  # bytes of an input; length is not what breaks a parser of bounded frames, see test_linear.py


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("target")
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--keep", action="store_true")
    options.add_argument("--inside", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.inside:
        return _fuzz(chosen.target, chosen.inside.split("\n"))
    return fuzz(chosen.target, chosen.seconds, write=chosen.keep)


def fuzz(target: str, seconds: int, *, write: bool = False, crashes: Path | None = None) -> int:
    """Return the exit code. What breaks a promise is written into ``crashes``, else the present folder."""
    with tempfile.TemporaryDirectory(prefix="mqbridge-fuzz-") as scratch:
        known, found = (Path(scratch) / name for name in ("known", "found"))
        for folder in (known, found):
            folder.mkdir()
        for number, (_, data) in enumerate(kept(target)):
            (known / str(number)).write_bytes(data)
        prefix = f"-artifact_prefix={crashes or Path.cwd()}/fuzz-{target}-"
        code = _run(target, str(found), str(known), f"-max_total_time={seconds}", "-print_final_stats=1", prefix)
        if code == 0 and write:
            print(f"{target}: {keep(target, (path.read_bytes() for path in found.iterdir()))} found inputs are kept")
    return code


def _run(target: str, *arguments: str) -> int:
    """A process for each: libFuzzer ends its process itself."""
    inside = "\n".join([*arguments, f"-max_len={LONGEST}", "-timeout=20", "-rss_limit_mb=2048"])
    command = [sys.executable, "-m", "tests.fuzz.run", target, f"--inside={inside}"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def _fuzz(name: str, arguments: list[str]) -> int:
    import atheris

    with atheris.instrument_imports(include=["activemq", "bridge"]):
        from tests.fuzz.targets import TARGETS

    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
