"""`mqbridge top`, and the admin key that a bridge makes for itself."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import httpx
import pytest
from rich.console import Console

from bridge.settings import Admin, Caller, Route, Settings
from mqbridge.commands.gathering import Gatherer, together
from mqbridge.commands.serve import with_admin_key
from mqbridge.commands.top import look, render, watch
from mqbridge.console import CommandError
from mqbridge.environment import admin_key

ROUTE = {
    "name": "words", "queue": "words.q", "held": 3, "listeners": 2, "backlog": 3, "max_backlog": 10_000,
    "answered": 41, "answers_per_second": 12.34, "oldest_held_seconds": 1.25,
}  # fmt: skip
STATUS = {
    "ready": True, "broker": {"connected": True, "presence": True}, "draining": False, "held": 3, "body_memory": 0,
    "routes": [ROUTE, ROUTE | {"name": "[red]none", "listeners": 0, "oldest_held_seconds": None},
               ROUTE | {"name": "unknown", "listeners": None}],
}  # fmt: skip


@contextmanager
def answering(status=200, body=None):
    """A bridge that answers this; gives its URL and the requests that came."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, self.headers.get("Authorization")))
            data = json.dumps(STATUS).encode() if body is None else body
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def shown(status):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(render("http://bridge", status))
    return console.export_text()


def test_each_route_has_its_line():
    head, _, words, none, unknown = shown(STATUS).splitlines()
    assert "ready" in head
    assert "3 held" in head
    assert words.split() == ["words", "words.q", "2", "3", "1.2", "s", "3/10000", "41", "12.3"]
    assert none.split()[:5] == ["[red]none", "words.q", "0", "3", "–"]  # a name is no markup
    assert unknown.split()[2] == "?"


def test_a_bridge_that_cannot_serve_says_so():
    away = STATUS | {"ready": False, "draining": True, "broker": {"connected": False, "presence": False}}
    head = shown(away).splitlines()[0]
    for word in ("not ready", "broker away", "draining"):
        assert word in head


def test_once_as_json_is_what_the_bridge_says(capsys):
    with answering() as (url, seen):
        assert watch(url, "key", every=1.0, once=True, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == STATUS
    assert seen == [("/-/api/status", "Bearer key")]


def test_once_is_a_table(capsys):
    with answering() as (url, _):
        assert watch(url, "key", every=1.0, once=True, as_json=False) == 0
    assert "words.q" in capsys.readouterr().out


@pytest.mark.parametrize("as_json", [True, False])
def test_it_looks_again_and_again_until_it_is_interrupted(capsys, monkeypatch, as_json):
    with answering() as (url, seen):

        def sleep(_):
            if len(seen) == 3:
                raise KeyboardInterrupt

        monkeypatch.setattr("mqbridge.commands.top.time.sleep", sleep)
        assert watch(url, "key", every=1.0, once=False, as_json=as_json) == 0
    assert len(seen) == 3


def test_a_bridge_that_goes_away_is_shown_as_that(capsys, monkeypatch):
    with answering() as (url, _):
        answers = iter([look, CommandError("away: it cannot be reached")])

        def next_look(client):
            answer = next(answers)
            if isinstance(answer, CommandError):
                raise answer
            return answer(client)

        sleeps = iter([None, KeyboardInterrupt()])

        def sleep(_):
            if isinstance(error := next(sleeps), BaseException):
                raise error

        monkeypatch.setattr("mqbridge.commands.top.look", next_look)
        monkeypatch.setattr("mqbridge.commands.top.time.sleep", sleep)
        assert watch(url, "key", every=1.0, once=False, as_json=False) == 0
    assert "it cannot be reached" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, b"{}", "does not know this admin key"),
        (404, b"{}", "answered 404: is it a bridge of this version?"),
        (200, b"<html>", "answered 200: is it a bridge"),
        (200, b"[]", "answered 200: is it a bridge"),
        (200, b"{}", "answered 200: is it a bridge"),
    ],
)
def test_an_answer_that_is_no_status_is_said(status, body, said):
    with answering(status, body) as (url, _), pytest.raises(CommandError, match=said):
        watch(url, "key", every=1.0, once=True, as_json=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:8080", "ftp://127.0.0.1", "http://["])
def test_a_bridge_that_cannot_be_reached_is_an_error_without_a_trace(url):
    with pytest.raises(CommandError):
        watch(url, "secret-key", every=1.0, once=True, as_json=False)


def test_no_proxy_of_the_environment_gets_the_key(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with answering() as (url, seen):
        assert watch(url, "key", every=1.0, once=True, as_json=True) == 0
    assert len(seen) == 1


# -- the key


def test_the_key_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "key"
    file.write_text("from-file\n")
    monkeypatch.setenv("MQBRIDGE_ADMIN_KEY", "from-environment")
    assert admin_key(file) == "from-file"
    assert admin_key(None) == "from-environment"


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_key_it_says_where_to_get_one(monkeypatch, value):
    monkeypatch.delenv("MQBRIDGE_ADMIN_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("MQBRIDGE_ADMIN_KEY", value)
    with pytest.raises(CommandError, match="MQBRIDGE_ADMIN_KEY") as caught:
        admin_key(None)
    assert caught.value.code == 2


def test_a_bridge_without_authentication_makes_a_key_and_prints_it_once(capsys, caplog):
    caplog.set_level("DEBUG")
    settings = with_admin_key(Settings(routes=(Route(name="q", path="/q", queue="q"),)))
    (line,) = capsys.readouterr().err.splitlines()
    key = line.removeprefix("mqbridge: admin key ")
    assert len(key) >= 43  # 256 bits
    assert settings.admin.key_sha256 == hashlib.sha256(key.encode()).hexdigest()
    assert key not in caplog.text
    assert key not in repr(settings)


@pytest.mark.parametrize(
    "given",
    [
        {"admin": Admin(key_sha256="0" * 64)},
        {"callers": (Caller(name="shop", key_sha256="0" * 64),)},
    ],
)
def test_a_bridge_that_knows_whom_to_ask_makes_no_key(given, capsys):
    settings = Settings(**given)
    assert with_admin_key(settings) is settings
    assert capsys.readouterr().err == ""


def test_two_bridges_have_two_keys():
    assert with_admin_key(Settings()).admin != with_admin_key(Settings()).admin


def test_look_asks_for_the_status_only():
    with answering() as (url, seen), httpx.Client(base_url=url) as client:
        assert look(client) == STATUS
        assert [path for path, _ in seen] == ["/-/api/status"]


# -- several processes


def one_of(number, of=3, **members):
    return {**STATUS, "process": {"number": number, "of": of, "pid": 100 + number}, **members}


class Many:
    """A bridge of three processes; each connection comes to the next of ``order``."""

    def __init__(self, order):
        self.order = list(order)
        self.closed = []
        self.gone = set()

    def connect(self):
        number = self.order.pop(0)
        return SimpleNamespace(number=number, close=lambda: self.closed.append(number))

    def look(self, client):
        if client.number in self.gone:
            raise CommandError("cannot be reached")
        return one_of(client.number)


def test_each_process_is_found_once_and_its_connection_kept():
    many = Many([1, 1, 3, 1, 2])
    with Gatherer(many.connect, many.look) as gatherer:
        for _ in range(2):
            status = gatherer.look()
            assert [one["process"]["number"] for one in status["processes"]] == [1, 2, 3]
            assert many.closed == [1, 1]
    assert sorted(many.closed) == [1, 1, 1, 2, 3]


def test_what_processes_say_is_added_up():
    busy = ROUTE | {"held": 5, "listeners": None, "oldest_held_seconds": 9.5, "answered": 1}
    status = together([one_of(1, 2), one_of(2, 2, held=7, ready=False, routes=[busy])], 2)
    assert (status["ready"], status["held"], status["of"]) == (False, 10, 2)
    words = status["routes"][0]
    assert (words["held"], words["listeners"], words["backlog"], words["max_backlog"]) == (8, 2, 6, 20_000)
    assert (words["oldest_held_seconds"], words["answered"], words["answers_per_second"]) == (9.5, 42, 24.68)
    assert status["routes"][1]["oldest_held_seconds"] is None
    assert "2 of 2 processes" in shown(status)


def test_a_process_that_chance_does_not_find_is_missing_and_said_to_be():
    many = Many([1, 2] * 100)
    with Gatherer(many.connect, many.look) as gatherer:
        status = gatherer.look()
    assert not status["ready"]
    assert "2 of 3 processes" in shown(status)
    assert sorted(set(many.closed)) == [1, 2]


def test_a_process_that_ended_is_looked_for_again():
    many = Many([1, 2, 3, 3, 2])
    with Gatherer(many.connect, many.look) as gatherer:
        gatherer.look()
        many.gone = {2}
        many.order = [3, 1, 2]
        with pytest.raises(CommandError):
            gatherer.look()
        many.gone = set()
        many.order = [2]
        assert len(gatherer.look()["processes"]) == 3


def test_a_bridge_that_is_gone_altogether_is_an_error():
    many = Many([1, 2, 3])
    with Gatherer(many.connect, many.look) as gatherer:
        gatherer.look()
        many.gone = {1, 2, 3}
        with pytest.raises(CommandError, match="cannot be reached"):
            gatherer.look()
