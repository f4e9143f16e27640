"""The command line as scripts meet it: help, version, refusals, exit codes."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from typer.main import get_command

from activemq.testing import FakeBroker
from mqbridge.cli import app

from .conftest import Start

COMMANDS = tuple(get_command(app).commands)  # type: ignore[attr-defined]  # it is a group

ROUTE = '[[route]]\nname = "a"\npath = "/a"\nqueue = "a"\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "bridge.toml"
    path.write_text(text)
    return path


def test_version_is_the_installed_one(start: Start) -> None:
    command = start("--version")
    assert command.exit_code() == 0
    assert command.output == f"mqbridge {version('activemq-rest-bridge')}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_an_example(start: Start, name: str) -> None:
    command = start(name, "--help", environ={"COLUMNS": "200"})
    assert command.exit_code() == 0
    assert f"mqbridge {name}" in command.output
    assert "Example" in command.output


def test_no_command_shows_the_help(start: Start) -> None:
    command = start()
    assert command.exit_code() == 2
    assert "serve" in command.output


def test_output_to_a_pipe_has_no_colours(start: Start) -> None:
    command = start("--help")
    command.exit_code()
    assert "\x1b" not in command.output


def test_serve_refuses_a_bad_file_with_all_its_faults_and_code_2(start: Start, tmp_path: Path) -> None:
    config = write(tmp_path, '[server]\nmax_hold = 5\nbody_timeout = "-1s"\n' + ROUTE.replace('"a"\n', '"a>"\n'))
    command = start("serve", "--config", config)
    assert command.exit_code() == 2
    for key in ("server.max_hold", "server.body_timeout", "queue"):
        assert key in command.output
    assert "Traceback" not in command.output


def test_serve_names_a_file_that_is_not_there(start: Start) -> None:
    command = start("serve", "--config", "nowhere.toml")
    assert command.exit_code() == 2
    assert "nowhere.toml" in command.output


def test_serve_names_a_port_in_use_and_says_what_to_do(start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = start("serve", "--config", write(tmp_path, f'[server]\nbind = ["{address}"]\n{ROUTE}'))
        assert command.exit_code() == 1
    assert f"cannot listen on {address}" in command.output
    assert "[server] bind" in command.output
    assert "Traceback" not in command.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["work"], "either MODULE:NAME"),
        (["work", "hello"], "must be MODULE:NAME"),
        (["work", "nowhere:worker"], "no module 'nowhere'"),
        (["work", "json:nothing"], "has no 'nothing'"),
        (["work", "json:dumps"], "not a consumers.Worker"),
        (["work", "json:dumps", "--asgi", "json:dumps", "--queue", "q"], "either MODULE:NAME"),
        (["work", "--asgi", "json:dumps"], "--queue"),
        (["work", "json:dumps", "--broker", "http://localhost"], "stomp://"),
        (["work", "json:dumps", "--passcode-file", "nowhere"], "nowhere cannot be read"),
        (["work", "json:dumps", "--concurrency", "0"], "--concurrency"),
        (["work", "json:dumps", "--log-level", "loud"], "'loud'"),
        (["forward", "ftp://localhost", "--queue", "q"], "ftp://localhost"),
        (["broker", "--kind", "kafka"], "kafka"),
    ],
)
def test_a_wrong_command_line_is_refused_with_code_2(start: Start, arguments: list[str], said: str) -> None:
    command = start(*arguments, environ={"COLUMNS": "200"})
    assert command.exit_code() == 2
    assert said in command.output
    assert "Traceback" not in command.output


def test_an_empty_passcode_file_is_refused(start: Start, tmp_path: Path) -> None:
    (tmp_path / "passcode").write_text("\n")
    command = start("work", "json:dumps", "--passcode-file", "passcode")
    assert command.exit_code() == 2
    assert "is empty" in command.output


def test_check_lists_faults_of_the_file_as_json(start: Start, tmp_path: Path) -> None:
    command = start("check", "--json", "--config", write(tmp_path, ROUTE + "timeout = 5\n"))
    assert command.exit_code() == 1
    (finding,) = json.loads(command.output)
    assert finding["ok"] is False
    assert "timeout" in finding["detail"]


def test_check_says_that_no_broker_answers_and_what_to_do(start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = start("check", "--config", write(tmp_path, f'[broker]\nurls = ["stomp://127.0.0.1:{port}"]\n{ROUTE}'))
    assert command.exit_code() == 1
    assert f"✗ broker: stomp://127.0.0.1:{port}" in command.output
    assert "mqbridge broker" in command.output


def test_openapi_prints_the_document_and_nothing_else(start: Start, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text('{"type": "object"}')
    command = start("openapi", "--config", write(tmp_path, ROUTE + 'schema = "body.json"\n'))
    assert command.exit_code() == 0, command.output
    document = json.loads(command.output)
    assert document["openapi"] == "3.1.1"
    assert set(document["paths"]) == {"/a", "/jobs/{id}", "/jobs/{id}/result", "/jobs/{id}/events"}


def test_openapi_lists_faults_of_the_file(start: Start, tmp_path: Path) -> None:
    command = start("openapi", "--config", write(tmp_path, ROUTE + 'schema = "nowhere.json"\n'))
    assert command.exit_code() == 2
    assert "route[0].schema" in command.output
    assert "Traceback" not in command.output


async def test_serve_reads_its_file_anew_at_sighup(start: Start, tmp_path: Path) -> None:
    async with FakeBroker() as broker:
        text = f'[server]\nbind = ["127.0.0.1:0"]\n[broker]\nurls = ["{broker.url}"]\n'
        bridge = start("serve", "--config", write(tmp_path, text + ROUTE))
        url = (await asyncio.to_thread(bridge.wait_for, "ready on http://")).split()[-1]
        key = bridge.wait_for("admin key").split()[-1]
        write(tmp_path, text + ROUTE + '[[route]]\nname = "new"\npath = "/new"\nqueue = "new"\n')
        bridge.signal(signal.SIGHUP)
        await asyncio.to_thread(bridge.wait_for, "1 added (new)")
        write(tmp_path, text + ROUTE + "timeout = 5\n")
        bridge.signal(signal.SIGHUP)
        await asyncio.to_thread(bridge.wait_for, "refused, nothing has changed")
        async with httpx.AsyncClient(base_url=url) as client:
            assert "/new" in (await client.get("/openapi.json")).json()["paths"]
            answer = await client.post("/-/reload", headers={"authorization": f"Bearer {key}"})
            assert [error["key"] for error in answer.json()["errors"]] == ["route[0].timeout"]
            write(tmp_path, text + ROUTE)
            answer = await client.post("/-/reload", headers={"authorization": f"Bearer {key}"})
            assert (answer.status_code, answer.json()["removed"], answer.json()["restart"]) == (200, ["new"], [])
        bridge.signal(signal.SIGTERM)
        assert await asyncio.to_thread(bridge.exit_code) == 0, bridge.output


def test_serve_logs_json_where_the_settings_ask_for_it(start: Start, tmp_path: Path) -> None:
    text = '[server]\nbind = ["127.0.0.1:0"]\n[broker]\nurls = ["stomp://127.0.0.1:1"]\n[log]\nformat = "json"\n'
    command = start("serve", "--config", write(tmp_path, text + ROUTE))
    line = json.loads(command.wait_for("cannot use a broker"))
    assert (line["level"], line["logger"]) == ("WARNING", "activemq.supervisor")
    assert {"time", "message"} < set(line)
    command.signal(signal.SIGTERM)
    assert command.exit_code() == 0
