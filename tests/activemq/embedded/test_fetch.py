"""Fetching through the real jgo, from a Maven repository on loopback."""

from __future__ import annotations

import gc
import hashlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from activemq.embedded.artifacts import Coordinate, Distribution
from activemq.embedded.fetch import FetchCancelledError, ensure_jars, fetch_all
from activemq.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("jgo", reason="the extra 'broker' is not installed")

# jgo streams and does not close a response that it gives up; the collector does, and warns
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

COORDINATES = (Coordinate("org.example", "one", "1.0"), Coordinate("org.example.sub", "two", "2.0"))
BROKER = Distribution("toy", "Toy", "1", "Main", COORDINATES)
JARS = {"/org/example/one/1.0/one-1.0.jar": b"one" * 20_000, "/org/example/sub/two/2.0/two-2.0.jar": b"two"}
LOCK = {path.rpartition("/")[2]: hashlib.sha256(content).hexdigest() for path, content in JARS.items()}


class Repository:
    """A Maven repository over HTTP; ``gate`` set to an event holds each answer in its middle until it is set."""

    def __init__(self) -> None:
        self.jars = dict(JARS)
        self.asked: list[str] = []
        self.gate: threading.Event | None = None
        self.in_the_middle = threading.Event()
        repository = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                repository.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        content = self.jars.get(handler.path)
        if content is None:
            handler.send_error(404)
            return
        self.asked.append(handler.path)
        handler.send_response(200)
        handler.send_header("content-length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:10_000])
        if self.gate is not None:
            self.in_the_middle.set()
            assert self.gate.wait(20)
        handler.wfile.write(content[10_000:])


@pytest.fixture
def repository(monkeypatch, tmp_path) -> Iterator[Repository]:
    running = Repository()
    thread = threading.Thread(target=running.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    monkeypatch.setattr("jgo.constants.MAVEN_CENTRAL_URL", running.url)
    monkeypatch.setenv("JGO_CONFIG_FILE", str(tmp_path / "no-such-jgo.conf"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield running
    running.server.shutdown()
    running.server.server_close()
    thread.join()
    gc.collect()  # here, not in another test


def ensure(cache: Path, said: list[str] | None = None, lock: dict[str, str] = LOCK) -> list[Path]:
    progress = [].append if said is None else said.append
    return ensure_jars(BROKER, lock, cache, progress, threading.Event())


def test_missing_jars_are_fetched_checked_and_put_in_place(repository, tmp_path):
    said: list[str] = []
    paths = ensure(tmp_path, said)
    assert paths == [tmp_path / "toy-1" / "one-1.0.jar", tmp_path / "toy-1" / "two-2.0.jar"]
    assert [path.read_bytes() for path in paths] == list(JARS.values())
    assert said[0].startswith("fetching Toy 1 (10 MB, once) into ")
    assert said[1:] == ["  1/2 one-1.0.jar", "  2/2 two-2.0.jar"]


def test_nothing_but_the_jars_is_left_in_the_folder(repository, tmp_path):
    paths = ensure(tmp_path)
    assert sorted((tmp_path / "toy-1").iterdir()) == sorted(paths)


def test_with_all_in_place_neither_the_network_nor_jgo_is_needed(repository, tmp_path, monkeypatch):
    ensure(tmp_path)
    repository.asked.clear()
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    said: list[str] = []
    assert len(ensure(tmp_path, said)) == 2
    assert (repository.asked, said) == ([], [])


def test_a_changed_jar_is_fetched_again_and_only_that_one(repository, tmp_path):
    changed = ensure(tmp_path)[1]
    repository.asked.clear()
    changed.write_bytes(b"twO")
    said: list[str] = []
    ensure(tmp_path, said)
    assert changed.read_bytes() == b"two"
    assert repository.asked == ["/org/example/sub/two/2.0/two-2.0.jar"]
    assert said[0].startswith("two-2.0.jar is not the file that was locked")
    assert "(1 of 2 jars)" in said[1]


def test_a_jar_that_is_wrong_again_after_fetching_is_refused_by_name(repository, tmp_path):
    path = ensure(tmp_path)[1]
    path.write_bytes(b"changed")
    repository.jars["/org/example/sub/two/2.0/two-2.0.jar"] = b"evil"
    with pytest.raises(ArtifactError, match=r"^two-2\.0\.jar: was fetched, but its SHA-256 is .*refusing"):
        ensure(tmp_path)
    assert path.read_bytes() == b"changed", "what was fetched must not be put in place"


def test_a_truncated_answer_is_refused(repository, tmp_path):
    repository.jars["/org/example/one/1.0/one-1.0.jar"] = b"one" * 19_999
    with pytest.raises(ArtifactError, match=r"^one-1\.0\.jar: "):
        ensure(tmp_path)


def test_no_network_and_nothing_cached_says_so(repository, tmp_path, monkeypatch):
    monkeypatch.setattr("jgo.constants.MAVEN_CENTRAL_URL", "http://127.0.0.1:1")
    with pytest.raises(ArtifactError, match=r"^org\.example:one:1\.0: cannot be fetched .*is the network up"):
        ensure(tmp_path)


def test_a_jar_that_no_repository_has_says_so(repository, tmp_path):
    del repository.jars["/org/example/one/1.0/one-1.0.jar"]
    with pytest.raises(ArtifactError, match=r"^org\.example:one:1\.0: no repository has it$"):
        ensure(tmp_path)


def test_errors_name_no_host(repository, tmp_path):
    repository.jars.clear()
    with pytest.raises(ArtifactError) as caught:
        ensure(tmp_path)
    assert "127.0.0.1" not in str(caught.value)


def test_without_the_extra_the_error_says_what_to_install(repository, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    with pytest.raises(ArtifactError, match=r"pip install '\.\[broker\]'"):
        ensure(tmp_path)


def test_a_cache_that_cannot_be_written_says_so(repository, tmp_path):
    (tmp_path / "toy-1").write_text("a file where the folder should be")
    with pytest.raises(ArtifactError, match="cannot be written"):
        ensure(tmp_path)


def test_mirrors_of_jgos_own_settings_come_first(repository, tmp_path, monkeypatch):
    settings = tmp_path / "jgo.conf"
    settings.write_text(f"[repositories]\nmirror = {repository.url}\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(settings))
    monkeypatch.setattr("jgo.constants.MAVEN_CENTRAL_URL", "http://127.0.0.1:1")
    assert len(ensure(tmp_path)) == 2


def test_cancelling_ends_a_fetch_in_the_middle_of_a_jar(repository, tmp_path):
    repository.gate = threading.Event()
    cancelled = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(ensure_jars, BROKER, LOCK, tmp_path, [].append, cancelled)
        assert repository.in_the_middle.wait(20)
        cancelled.set()
        repository.gate.set()
        with pytest.raises(FetchCancelledError):
            fetching.result(20)
    assert list((tmp_path / "toy-1").iterdir()) == []


def test_two_that_fetch_at_once_do_not_disturb_each_other(repository, tmp_path):
    repository.gate = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(ensure, tmp_path) for _ in range(2)]
        assert repository.in_the_middle.wait(20)
        repository.gate.set()
        assert both[0].result(20) == both[1].result(20)
    assert [path.read_bytes() for path in ensure(tmp_path)] == list(JARS.values())


def test_fetch_all_brings_every_jar_unchecked(repository, tmp_path):
    repository.jars["/org/example/sub/two/2.0/two-2.0.jar"] = b"new"
    fetched = fetch_all(BROKER, tmp_path, [].append, threading.Event())
    assert [(coordinate.name, path.read_bytes()) for coordinate, path in fetched] == [
        ("one", b"one" * 20_000),
        ("two", b"new"),
    ]
