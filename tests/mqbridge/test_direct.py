"""`mqbridge work --http`: a worker served over HTTP without bridge and broker."""

from __future__ import annotations

import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.settings import Settings
from consumers import Worker
from mqbridge.commands.direct import direct_settings
from mqbridge.console import CommandError

from .conftest import Command, Start

WORKER = """
import asyncio, os, threading, time
from contextlib import asynccontextmanager
from consumers import Request, Worker

@asynccontextmanager
async def lifespan():
    print("lifespan begins", flush=True)
    yield
    print("lifespan ends", flush=True)

worker = Worker(lifespan=lifespan)

@worker.handler("hello")
async def hello(name: str) -> str:
    return "hello " + name

@worker.handler("slow")
async def slow(request: Request) -> str:
    print("begun " + request.text(), flush=True)
    try:
        await asyncio.sleep(1.0)
    except asyncio.CancelledError:
        print("cancelled " + request.text(), flush=True)
        raise
    return "slept"

@worker.handler("parts")
async def parts(request: Request) -> None:
    size = int(request.text())
    for _ in range(size):
        await request.chunk(b"x" * 65_536)

@worker.handler("thread")
def thread(request: Request) -> str:
    return threading.current_thread().name

@worker.handler("dies")
async def dies(request: Request) -> None:
    os._exit(3)
"""
TEXT = {"content-type": "text/plain"}
PATIENCE = 60.0  # seconds, on a saturated machine
ROUTES = """
[[route]]
name = "greet"
path = "/v1/greetings"
methods = ["PUT"]
queue = "hello"
max_body = "10B"

[[route]]
name = "parts"
path = "/parts"
queue = "parts"
stream = "body"

[[route]]
name = "elsewhere"
path = "/elsewhere"
queue = "other"
"""


def serve(start: Start, folder: Path, *options: Any, implementation: str = "auto") -> tuple[Command, str]:
    (folder / "hello.py").write_text(WORKER)
    (folder / "routes.toml").write_text(f'[server]\nimplementation = "{implementation}"\n{ROUTES}')
    command = start("work", "hello:worker", "--http", "127.0.0.1:0", *options)
    return command, command.wait_for("mqbridge: worker ready on http://").split()[4]


def test_each_queue_is_a_path_and_the_contract_is_the_bridges(start: Start, tmp_path: Path) -> None:
    command, url = serve(start, tmp_path, "--concurrency", 2)
    assert "(hello × 2, slow × 2, parts × 2, thread × 2, dies × 2)" in command.wait_for("worker ready on")
    answer = httpx.post(f"{url}/hello", content="Ada", headers=TEXT, timeout=PATIENCE)
    assert (answer.status_code, answer.text) == (200, "hello Ada")
    assert len(answer.headers["correlation-id"]) == 32
    assert [part.partition(";")[0] for part in answer.headers["server-timing"].split(", ")] == [
        "bridge",
        "queue",
        "work",
    ]
    problem = httpx.post(f"{url}/nowhere", timeout=PATIENCE)
    assert (problem.status_code, problem.json()["type"], problem.json()["ran"]) == (404, "/problems/no-route", "no")
    late = httpx.post(f"{url}/slow", content="x", headers=TEXT | {"prefer": "wait=0.1, wait=1"}, timeout=PATIENCE)
    assert late.status_code in (200, 504)
    assert httpx.post(f"{url}/thread", timeout=PATIENCE).text.startswith("worker")
    assert httpx.get(f"{url}/jobs/{'0' * 32}", timeout=PATIENCE).json()["type"] == "/problems/no-job"
    assert httpx.get(f"{url}/-/ready", timeout=PATIENCE).json() == {"ready": True}
    assert list(httpx.get(f"{url}/openapi.json", timeout=PATIENCE).json()["paths"])[:1] == ["/hello"]
    command.signal(signal.SIGTERM)
    assert command.exit_code() == 0, command.output
    assert [command.output.count(word) for word in ("lifespan begins", "lifespan ends")] == [1, 1]


def test_a_preference_for_a_job_and_a_key_are_not_looked_at(start: Start, tmp_path: Path) -> None:
    _, url = serve(start, tmp_path)
    headers = TEXT | {"prefer": "respond-async", "idempotency-key": "k"}
    answers = [httpx.post(f"{url}/hello", content=name, headers=headers, timeout=PATIENCE) for name in ("Ada", "Bob")]
    assert [(one.status_code, one.text) for one in answers] == [(200, "hello Ada"), (200, "hello Bob")]


def test_calls_wait_for_a_slot_and_are_told_when_their_time_is_over(start: Start, tmp_path: Path) -> None:
    command, url = serve(start, tmp_path, "--concurrency", 1)

    def call(name: str, wait: int) -> httpx.Response:
        return httpx.post(f"{url}/slow", content=name, headers=TEXT | {"prefer": f"wait={wait}"}, timeout=PATIENCE)

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(call, "first", 20)
        command.wait_for("begun first")
        second, hasty = pool.submit(call, "second", 20), pool.submit(call, "hasty", 1)
        assert first.result().text == second.result().text == "slept"
        problem = hasty.result().json()
        assert (problem["type"], problem["status"]) == ("/problems/deadline", 504)


def test_a_caller_who_leaves_cancels_the_handler(start: Start, tmp_path: Path) -> None:
    command, url = serve(start, tmp_path)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{url}/slow", content="gone", headers=TEXT, timeout=httpx.Timeout(PATIENCE, read=0.4))
    command.wait_for("cancelled gone")


def test_a_drain_finishes_what_runs_and_what_waits(start: Start, tmp_path: Path) -> None:
    command, url = serve(start, tmp_path, "--concurrency", 1)
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(httpx.post, f"{url}/slow", content="one", headers=TEXT, timeout=PATIENCE)
        command.wait_for("begun one")
        waiting = pool.submit(httpx.post, f"{url}/slow", content="two", headers=TEXT, timeout=PATIENCE)
        key = command.wait_for("mqbridge: admin key ").split()[-1]
        headers = {"authorization": f"Bearer {key}"}
        end = time.monotonic() + PATIENCE
        while httpx.get(f"{url}/-/api/status", headers=headers, timeout=PATIENCE).json()["held"] < 2:
            assert time.monotonic() < end
        command.signal(signal.SIGTERM)
        assert [one.result().text for one in (running, waiting)] == ["slept", "slept"]
    assert command.exit_code() == 0, command.output


@pytest.mark.parametrize("implementation", ["uvicorn", "hypercorn"])
def test_routes_come_from_a_bridges_file_and_answers_in_parts_are_too(
    start: Start, tmp_path: Path, implementation: str
) -> None:
    command, url = serve(start, tmp_path, "--config", "routes.toml", implementation=implementation)
    assert httpx.put(f"{url}/v1/greetings", content="Ada", headers=TEXT, timeout=PATIENCE).text == "hello Ada"
    assert httpx.put(f"{url}/v1/greetings", content="x" * 11, timeout=PATIENCE).status_code == 413
    assert httpx.post(f"{url}/elsewhere", timeout=PATIENCE).status_code == 404
    assert httpx.post(f"{url}/hello", timeout=PATIENCE).status_code == 404
    assert "no route leads to dies, slow, thread" in command.output
    parts = httpx.post(f"{url}/parts", content="12", headers=TEXT, timeout=PATIENCE)  # what may wait for a reader
    assert (parts.status_code, len(parts.content)) == (200, 12 * 65_536)


def test_a_worker_that_dies_takes_its_calls_along_and_is_no_answer(start: Start, tmp_path: Path) -> None:
    command, url = serve(start, tmp_path)
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{url}/dies", timeout=PATIENCE)
    assert command.exit_code() == 3


def test_an_asgi_app_is_served_as_well(start: Start, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "from starlette.applications import Starlette\nfrom starlette.responses import PlainTextResponse\n"
        "from starlette.routing import Route\n"
        "async def hello(request):\n    return PlainTextResponse('asgi ' + (await request.body()).decode())\n"
        "app = Starlette(routes=[Route('/q', hello, methods=['POST'])])\n"
    )
    command = start("work", "--asgi", "app:app", "--queue", "q", "--http", "127.0.0.1:0")
    url = command.wait_for("worker ready on").split()[4]
    assert httpx.post(f"{url}/q", content="Ada", timeout=PATIENCE).text == "asgi Ada"


def test_a_worker_that_cannot_start_says_why(start: Start, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "from contextlib import asynccontextmanager\nfrom consumers import Worker\n"
        "@asynccontextmanager\nasync def lifespan():\n    raise RuntimeError('no database')\n    yield\n"
        "worker = Worker(lifespan=lifespan)\n"
        "@worker.handler('q')\nasync def q(body: bytes) -> bytes:\n    return body\n"
    )
    command = start("work", "broken:worker", "--http", "127.0.0.1:0")
    assert command.exit_code() == 1
    assert "no database" in command.output


def test_a_port_that_is_taken_is_said(start: Start, tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(WORKER)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = start("work", "hello:worker", "--http", f":{taken.getsockname()[1]}")
        assert command.exit_code() == 1
    assert "Address already in use" in command.output
    assert "Traceback" not in command.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--http", ":0", "--broker", "stomp://127.0.0.1:1"), "needs no broker"),
        (("--http", ":0", "--login", "bridge"), "needs no broker"),
        (("--config", "routes.toml"), "are for --http"),
        (("--allow-anonymous",), "are for --http"),
        (("--http", "9000"), "must be HOST:PORT or :PORT"),
        (("--http", ":70000"), "must be HOST:PORT or :PORT"),
        (("--http", "0.0.0.0:0"), "allow_anonymous"),
        (("--http", ":0", "--config", "missing.toml"), "cannot be read"),
    ],
)
def test_a_wrong_command_line_is_refused(start: Start, tmp_path: Path, options: Any, said: str) -> None:
    (tmp_path / "hello.py").write_text(WORKER)
    command = start("work", "hello:worker", *options)
    assert command.exit_code() == 2, command.output
    assert said in command.output
    assert "Traceback" not in command.output


# -- what is served


def worker(*queues: str) -> Worker:
    made = Worker()
    for queue in queues:
        made.handler(queue)(lambda body: body)
    return made


def settings(made: Worker, folder: Path, text: str | None = None, http: str = ":9000", **options: Any) -> Settings:
    config = None
    if text is not None:
        config = folder / "bridge.toml"
        config.write_text(text)
    return direct_settings(made, http, config, **{"allow_anonymous": False, **options})


@pytest.mark.parametrize(
    ("http", "bind"), [(":9000", "127.0.0.1:9000"), ("[::1]:9000", "[::1]:9000"), ("localhost:0", "localhost:0")]
)
def test_without_a_host_it_is_loopback(tmp_path: Path, http: str, bind: str) -> None:
    assert settings(worker("q"), tmp_path, http=http).server.bind == (bind,)


def test_others_are_let_in_only_if_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="allow_anonymous"):
        settings(worker("q"), tmp_path, http="0.0.0.0:9000")
    assert settings(worker("q"), tmp_path, http="0.0.0.0:9000", allow_anonymous=True).server.allow_anonymous
    assert settings(worker("q"), tmp_path, "[server]\nallow_anonymous = true\n" + route("q"), http="0.0.0.0:9000")


def route(queue: str, more: str = "") -> str:
    return f'[[route]]\nname = "{queue}"\npath = "/{queue}"\nqueue = "{queue}"\n{more}'


def test_no_route_has_jobs_or_keys(tmp_path: Path) -> None:
    for made in (settings(worker("a", "b"), tmp_path), settings(worker("a", "b"), tmp_path, route("a") + route("b"))):
        assert {(one.queue, one.async_, one.idempotency) for one in made.routes} == {
            ("a", "never", "off"), ("b", "never", "off"),
        }  # fmt: skip


@pytest.mark.parametrize("more", ['async = "always"\n', 'idempotency = "required"\n'])
def test_a_route_that_needs_jobs_is_refused_and_named(tmp_path: Path, more: str) -> None:
    with pytest.raises(CommandError, match="route 'q' needs jobs") as caught:
        settings(worker("q"), tmp_path, route("q", more))
    assert caught.value.code == 2
    assert settings(worker("other"), tmp_path, route("q", more) + route("other")).routes[0].name == "other"


def test_callers_keep_those_of_their_routes_that_are_served(tmp_path: Path) -> None:
    caller = '[[caller]]\nname = "{0}"\nkey_sha256 = "{1}"\nroutes = {2}\n'
    text = caller.format("both", "0" * 64, ["mine", "theirs"]) + caller.format("none", "1" * 64, ["theirs"])
    made = settings(worker("mine"), tmp_path, route("mine") + route("theirs") + text, http="0.0.0.0:9000")
    assert {one.name: one.routes for one in made.callers} == {"both": ("mine",), "none": ()}


def test_a_file_without_a_route_to_the_worker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="has no route to mine"):
        settings(worker("mine"), tmp_path, route("theirs"))


@pytest.mark.parametrize("queue", ["jobs", "docs", "q" * 65, "-q"])
def test_a_queue_that_cannot_be_a_path_is_refused_and_named(tmp_path: Path, queue: str) -> None:
    with pytest.raises(CommandError) as caught:
        settings(worker(queue), tmp_path)
    assert caught.value.code == 2
    assert queue in str(caught.value)
