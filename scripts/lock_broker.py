# ruff: noqa: INP001 - a program, run by scripts/lock-broker
"""Write the SHA-256 list of the embedded broker's jars anew, after a version in activemq/embedded/artifacts.py changed.

Fetches every jar into an empty folder, never from the cache, and stops at any complaint of the resolver, such as a
published checksum that does not match. What it cannot know is whether the repository itself is honest: look at the
difference before you commit it.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from activemq.embedded.artifacts import LOCKED, sha256  # noqa: E402
from activemq.embedded.fetch import fetch_all  # noqa: E402
from activemq.errors import ArtifactError  # noqa: E402


class Complaints(logging.Handler):
    """Keeps what the resolver warned of: it warns, and goes on, where we must not."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one warning."""
        self.lines.append(record.getMessage())


def main() -> int:
    """Return the exit code: 0, or 1 if a jar could not be had or the list is another one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the list is not this one")
    parser.add_argument("--kind", choices=LOCKED, default="classic", help="which set (default: classic)")
    options = parser.parse_args()
    broker = LOCKED[options.kind]
    target = ROOT / "activemq" / "embedded" / f"{broker.folder}.sha256"
    complaints = Complaints()
    logging.getLogger("jgo").addHandler(complaints)
    print(f"fetching {broker.label} ({len(broker.coordinates)} jars)")
    try:
        with tempfile.TemporaryDirectory() as scratch:
            fetched = fetch_all(broker, Path(scratch), print, threading.Event())
            lines = sorted((coordinate.file_name, sha256(path)) for coordinate, path in fetched)
    except ArtifactError as error:
        complaints.lines.append(str(error))
    if complaints.lines:
        print(*complaints.lines, sep="\n", file=sys.stderr)
        return 1
    text = "".join(f"{digest}  {name}\n" for name, digest in lines)
    same = target.exists() and target.read_text("ascii") == text
    print(f"{target.relative_to(ROOT)}: {'unchanged' if same else 'differs' if options.check else 'written'}")
    if not same and not options.check:
        target.write_text(text, "ascii")
    return int(options.check and not same)


if __name__ == "__main__":
    sys.exit(main())
