"""Asks whether a bridge or a worker is well: exit code 0 if so, else 1 and a line that says why.

    python3 -I -S health.py http://127.0.0.1:8080/-/live      a bridge: answers this with 200
    python3 -I -S health.py /tmp/mqbridge-health              a worker: its event loop turns
    python3 -I -S health.py --ready /tmp/mqbridge-health      a worker: and it listens on its queues

Standard library only, and nothing of ours: it runs every few seconds, and starts in 50 ms where `mqbridge` takes 500.
"""

import sys
import time
from pathlib import Path

STALE = 15.0  # seconds; a worker writes its file each second (mqbridge/health.py)
TIMEOUT = 2.0


def bridge_fault(url: str) -> str | None:
    """Return what is wrong with a bridge."""
    import ssl
    import urllib.request

    # Its certificate is for its public name, and this asks on loopback.
    context = ssl._create_unverified_context() if url.startswith("https:") else None  # noqa: S323, SLF001
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT, context=context) as response:  # noqa: S310 - the image's own
            return None if response.status == 200 else f"{url} answers {response.status}"
    except OSError as error:
        return f"{url}: {error}"


def worker_fault(file: Path, *, ready: bool) -> str | None:
    """Return what is wrong with the worker that writes this file."""
    try:
        age, state = time.time() - file.stat().st_mtime, file.read_text("ascii").strip()
    except OSError as error:
        return f"{file}: {error.strerror}"
    if age > STALE:
        return f"{file} is {age:.0f} s old: the worker's event loop hangs"
    if ready and state != "ready":
        return f"the worker is {state}"
    return None


def main(arguments: list[str]) -> int:
    """Run with the command line's arguments; return the exit code."""
    ready = arguments[:1] == ["--ready"]
    if len(arguments) != 1 + ready:
        print("usage: health.py URL | health.py [--ready] FILE")
        return 2
    what = arguments[-1]
    fault = bridge_fault(what) if "://" in what else worker_fault(Path(what), ready=ready)
    if fault is not None:
        print(fault)
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
