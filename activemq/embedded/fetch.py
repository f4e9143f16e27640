"""Bring jars from Maven repositories, through the ``jgo`` library (extra ``broker``).

Each pinned coordinate is asked for on its own: our list is already closed, so no POM is read and nothing transitive
can come along. jgo reads its own settings file (repositories, that is mirrors) and the usual proxy and TLS variables.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activemq.embedded.artifacts import load_lock, sha256, unsound
from activemq.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from threading import Event

    from activemq.embedded.artifacts import Coordinate, Distribution


class FetchCancelledError(Exception):
    """Raised inside the fetching thread once ``cancelled`` is set."""


def ensure_jars(
    broker: Distribution,
    lock: Mapping[str, str],
    cache_dir: Path,
    progress: Callable[[str], None],
    cancelled: Event,
) -> list[Path]:
    """Return the jars in class-path order, each checked; those missing or wrong are fetched, once.

    Blocks; run it in a thread. With everything in place neither the network nor jgo is touched. ``progress`` gets
    lines for people. Setting ``cancelled`` ends a fetch at its next chunk with ``FetchCancelledError``.
    ``ArtifactError`` if a jar cannot be had, or is not the locked one even after it was fetched.
    """
    folder = cache_dir / broker.folder
    wanted = unsound(folder, lock)
    if wanted:
        for name in wanted:
            if (folder / name).exists():
                progress(f"{name} is not the file that was locked (its SHA-256 differs): fetching it again")
        missing = [coordinate for coordinate in broker.coordinates if coordinate.file_name in wanted]
        try:
            _fetch(broker, missing, lock, folder, progress, cancelled)
        except OSError as error:
            raise ArtifactError(broker.folder, f"{folder} cannot be written: {error.strerror or error}") from error
    return [folder / coordinate.file_name for coordinate in broker.coordinates]


async def checked_jars(wanted: Sequence[Distribution], cache_dir: Path, progress: Callable[[str], None]) -> list[Path]:
    """:func:`ensure_jars` of all of them, in a thread, which ends at its next chunk should we be cancelled.

    ``progress`` is called on the loop.
    """
    loop = asyncio.get_running_loop()
    cancelled = threading.Event()

    def tell(line: str) -> None:
        loop.call_soon_threadsafe(progress, line)

    jars: list[Path] = []
    try:
        for one in wanted:
            jars += await asyncio.to_thread(ensure_jars, one, load_lock(one), cache_dir, tell, cancelled)
    finally:
        cancelled.set()
    return jars


def fetch_all(
    broker: Distribution, folder: Path, progress: Callable[[str], None], cancelled: Event
) -> list[tuple[Coordinate, Path]]:
    """Fetch every jar into ``folder``, a fresh one, and check nothing: what ``scripts/lock-broker`` starts from."""
    download = _downloader(folder, cancelled)
    fetched = []
    for coordinate in broker.coordinates:
        fetched.append((coordinate, download(coordinate)))
        progress(f"  {coordinate}")
    return fetched


def _fetch(
    broker: Distribution,
    missing: list[Coordinate],
    lock: Mapping[str, str],
    folder: Path,
    progress: Callable[[str], None],
    cancelled: Event,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # Into a repository that is ours alone, then each jar into place by a rename: an interrupted fetch leaves no
    # half of a jar behind, and two that run at once do not disturb each other.
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
        download = _downloader(Path(scratch), cancelled)
        what = f"{broker.size}, once" if len(missing) == len(lock) else f"{len(missing)} of {len(lock)} jars"
        progress(f"fetching {broker.label} ({what}) into {folder} ...")
        for number, coordinate in enumerate(missing, 1):
            name = coordinate.file_name
            _install(download(coordinate), folder / name, lock[name])
            progress(f"  {number}/{len(missing)} {name}")


def _install(path: Path, target: Path, expected: str) -> None:
    if (actual := sha256(path)) != expected:
        raise ArtifactError(
            target.name, f"was fetched, but its SHA-256 is {actual} and not the locked {expected}; refusing to run it"
        )
    path.replace(target)


def _downloader(repository: Path, cancelled: Event) -> Callable[[Coordinate], Path]:
    """Return what brings one jar into ``repository`` (a folder) and returns its path."""
    try:
        from jgo.config import GlobalSettings  # noqa: PLC0415 - optional extra, and 0.3 s to import
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
        from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415
    except ImportError as error:
        raise ArtifactError(
            "jgo", "fetches the broker: pip install '.[broker]' in a checkout of activemq-rest-bridge"
        ) from error

    @contextlib.contextmanager
    def watch(_name: str, _size: int) -> Iterator[Callable[[int], None]]:
        yield lambda _count: _stop_if(cancelled)

    context: Any = MavenContext(
        resolver=PythonResolver(progress_callback=watch),
        repo_cache=repository,
        remote_repos={**GlobalSettings.load().repositories, "central": MAVEN_CENTRAL_URL},
    )

    def download(coordinate: Coordinate) -> Path:
        _stop_if(cancelled)
        component = context.project(coordinate.group, coordinate.name).at_version(coordinate.version)
        try:
            return Path(component.artifact().resolve())
        except OSError as error:  # all of requests' errors are
            raise ArtifactError(
                str(coordinate),
                f"cannot be fetched ({type(error).__name__}): is the network up? Only the first start needs it",
            ) from error
        except RuntimeError as error:  # jgo's word for 404
            raise ArtifactError(str(coordinate), "no repository has it") from error

    return download


def _stop_if(cancelled: Event) -> None:
    if cancelled.is_set():
        raise FetchCancelledError
