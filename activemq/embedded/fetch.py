"""Bring jars from Maven repositories, through the ``jgo`` library (extra ``broker``).

Each pinned coordinate is asked for on its own: our list is already closed, so no POM is read and nothing transitive
can come along. jgo reads its own settings file (repositories, that is mirrors) and the usual proxy and TLS variables.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from activemq.embedded.artifacts import sha256, unsound
from activemq.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from activemq.embedded.artifacts import Coordinate, Distribution


class FetchCancelledError(Exception):
    """Raised inside the fetching thread once ``cancelled`` is set."""


def ensure_jars(
    broker: Distribution,
    lock: Mapping[str, str],
    cache_dir: Path,
    progress: Callable[[str], None],
    cancelled: Event | None = None,
) -> list[Path]:
    """Return the jars in class-path order, each checked; those missing or wrong are fetched, once.

    Blocks; run it in a thread. With everything in place neither the network nor jgo is touched. ``progress`` gets
    lines for people. Setting ``cancelled`` ends a fetch at its next chunk with ``FetchCancelledError``.
    ``ArtifactError`` if a jar cannot be had, or is still not the locked one after it was fetched.
    """
    folder = cache_dir / broker.folder
    wanted = unsound(folder, lock)
    if wanted:
        for name in wanted:
            if (folder / name).exists():
                progress(f"{name} is not the file we locked (SHA-256 differs); fetching it again")
        missing = [c for c in broker.coordinates if c.file_name in wanted]
        _fetch(broker, missing, lock, folder, progress, cancelled or Event())
    for name in unsound(folder, lock):
        raise ArtifactError(name, f"in {folder}: its SHA-256 is not the locked one; refusing to run it")
    return [folder / coordinate.file_name for coordinate in broker.coordinates]


def _fetch(
    broker: Distribution,
    missing: list[Coordinate],
    lock: Mapping[str, str],
    folder: Path,
    progress: Callable[[str], None],
    cancelled: Event,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    progress(f"fetching {broker.label} ({len(missing)} jars, 10 MB in all, once) into {folder}")
    # Into a repository that is ours alone, then each jar into place by a rename: an interrupted fetch leaves no
    # half of a jar behind, and two that run at once do not disturb each other.
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
        download = _downloader(Path(scratch), cancelled)
        for number, coordinate in enumerate(missing, 1):
            if cancelled.is_set():
                raise FetchCancelledError
            path = download(coordinate)
            _install(path, folder / coordinate.file_name, lock[coordinate.file_name])
            progress(f"  {number}/{len(missing)} {coordinate.file_name}")


def _install(path: Path, target: Path, expected: str) -> None:
    if (actual := sha256(path)) != expected:
        raise ArtifactError(
            target.name,
            f"was fetched but its SHA-256 is {actual}, not the locked {expected}; refusing to run it",
        )
    shutil.move(path, target)


def _downloader(repository: Path, cancelled: Event) -> Callable[[Coordinate], Path]:
    """Return what brings one jar into ``repository`` (a folder) and returns its path."""
    try:
        from jgo.config import GlobalSettings  # noqa: PLC0415 - optional extra, and 0.3 s to import
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
        from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415
    except ImportError as error:
        raise ArtifactError(
            "jgo", "is needed to fetch the broker: pip install 'activemq-rest-bridge[broker]'"
        ) from error

    @contextlib.contextmanager
    def watch(_name: str, _size: int) -> Iterator[Callable[[int], None]]:
        def update(_count: int) -> None:
            if cancelled.is_set():
                raise FetchCancelledError

        yield update

    repositories = {**GlobalSettings.load().repositories, "central": MAVEN_CENTRAL_URL}
    context: Any = MavenContext(
        resolver=PythonResolver(progress_callback=watch),
        repo_cache=repository,
        remote_repos=repositories,
    )

    def download(coordinate: Coordinate) -> Path:
        project = context.project(coordinate.group, coordinate.name)
        try:
            return Path(project.at_version(coordinate.version).artifact().resolve())
        except (OSError, RuntimeError) as error:  # requests' errors are OSErrors, jgo's are RuntimeErrors
            raise ArtifactError(
                str(coordinate),
                f"could not be fetched; the first start needs the network, later ones do not ({type(error).__name__})",
            ) from error

    return download
