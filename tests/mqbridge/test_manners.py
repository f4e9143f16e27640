"""What all commands have in common: examples, JSON, completion, colours, exit codes, Ctrl-C, and what they say next."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from mqbridge.cli import app
from mqbridge.console import CommandError
from mqbridge.environment import config_file
from tests.mqbridge.conftest import READY_WITHIN
from tests.mqbridge.inprocess import run

DOCS = Path(__file__).parents[2] / "docs" / "command-line.md"
ID = "8c1f0d4e2b7a4c55a0e6b1c2d3e4f506"
ROUTE = '[[route]]\nname = "a"\npath = "/a"\nqueue = "a"\n'


def commands_of(group=None, words=()):
    """All of them as words, with what Typer knows of each."""
    found = {}
    for name, command in (group or get_command(app)).commands.items():
        if hasattr(command, "commands"):
            found |= commands_of(command, (*words, name))
        found[*words, name] = command
    return found


ALL = commands_of()
LEAVES = {words: command for words, command in ALL.items() if not hasattr(command, "commands")}
NO_DATA = {
    ("serve",), ("work",), ("forward",), ("broker",), ("broker-files",), ("demo",), ("dlq", "drop"), ("jobs", "cancel"),
    ("openapi",),  # is JSON itself
}  # fmt: skip


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_the_help_of_each_has_examples_of_it(words):
    ran = run(*words, "--help")
    assert ran.code == 0
    text = " ".join(ran.out.split())
    assert re.search(r"Examples?: \$", text)
    assert f"mqbridge {' '.join(words)}" in text.partition("Example")[2]


def test_whatever_prints_data_can_print_json():
    with_json = {words for words, command in LEAVES.items() if any("--json" in one.opts for one in command.params)}
    assert with_json == set(LEAVES) - NO_DATA


def test_the_page_names_each_command():
    page = DOCS.read_text()
    assert [words for words in LEAVES if f"`mqbridge {' '.join(words)}" not in page] == []


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["sevre"], "'serve'"),
        (["chek"], "'check'"),
        (["jobs", "lst"], "'list'"),
        (["dlq", "repaly"], "'replay'"),
        (["key", "nwe"], "'new'"),
        (["serve", "--confg", "x"], "--config"),
    ],
)
def test_a_word_that_is_almost_right_is_answered_with_the_right_one(arguments, meant):
    ran = run(*arguments)
    assert ran.code == 2
    assert meant in ran.err
    assert re.search(r"Did you mean|Possible options", ran.err)


# -- completion


@pytest.mark.parametrize(
    ("shell", "line", "position", "offered"),
    [
        ("bash", "mqbridge se", 1, {"serve", "send"}),
        ("bash", "mqbridge jobs ", 2, {"list", "show", "result", "cancel", "follow"}),
        ("bash", "mqbridge send --deta", 2, {"--detach"}),
    ],
)
def test_a_shell_is_offered_what_fits(shell, line, position, offered):
    program = Path(sys.executable).with_name("mqbridge")
    environ = os.environ | {"_MQBRIDGE_COMPLETE": f"complete_{shell}", "COMP_WORDS": line, "COMP_CWORD": str(position)}
    ran = subprocess.run([program], env=environ, capture_output=True, text=True, check=False)
    assert set(ran.stdout.split()) == offered, ran


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell):
    program = Path(sys.executable).with_name("mqbridge")
    environ = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    ran = subprocess.run(
        [program, "--show-completion", shell], env=environ, capture_output=True, text=True, check=False
    )
    assert "_MQBRIDGE_COMPLETE" in ran.stdout, ran


# -- colours and bars


def at_a_terminal(*command: object, **environ: str) -> str:
    """What a program prints at a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    given = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=theirs, stdout=theirs, stderr=theirs, env=given | {"TERM": "xterm-256color", "COLUMNS": "80"} | environ,
    )  # fmt: skip
    os.close(theirs)
    printed = b""
    end = time.monotonic() + READY_WITHIN
    while time.monotonic() < end:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            printed += part
        elif process.poll() is not None:
            break
    process.wait(READY_WITHIN)
    os.close(ours)
    return printed.decode()


COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9]")
MQBRIDGE = [sys.executable, "-m", "mqbridge"]


WAITING = """
import mqbridge.progress as progress, sys, time
progress.FIRST_AFTER = 0.05
with progress.Progress("digging", total=4) as digging:
    digging.done = 3
    time.sleep(1.0)
"""


def test_colours_are_for_terminals_that_want_them():
    assert COLOUR.search(at_a_terminal(sys.executable, "-c", WAITING))
    assert not COLOUR.search(at_a_terminal(sys.executable, "-c", WAITING, NO_COLOR="1"))
    assert "\x1b" not in at_a_terminal(sys.executable, "-c", WAITING, TERM="dumb")


@pytest.mark.parametrize("words", [["broker"], ["work"], ["forward"], ["serve"]], ids=" ".join)
def test_help_cuts_nothing_at_80_columns(words):
    ran = at_a_terminal(*MQBRIDGE, *words, "--help")
    command: Any = get_command(app).commands[words[0]]  # type: ignore[attr-defined]  # it is a group
    for parameter in command.params:
        for name in () if parameter.hidden else (*parameter.opts, *([parameter.envvar] if parameter.envvar else [])):
            assert name in ran
    assert max(len(line) for line in ran.splitlines() if "$ " not in line) <= 80


def test_who_waits_at_a_terminal_sees_a_bar_that_leaves_nothing():
    shown = at_a_terminal(sys.executable, "-c", WAITING)
    assert "digging" in shown
    assert "━" in shown
    assert "3 of 4" in shown
    assert shown.rstrip("\r\n").endswith("\x1b[2K")  # the line is cleared


def test_who_waits_elsewhere_reads_a_line():
    ran = subprocess.run([sys.executable, "-c", WAITING], capture_output=True, text=True, check=True)
    assert ran.stderr.splitlines()[0] == "mqbridge: digging … 3 of 4"
    assert ran.stdout == ""


# -- exit codes


def codes_of_the_page() -> set[int]:
    table = DOCS.read_text().partition("\n## Exit codes")[2].partition("\n## ")[0]
    return {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}


EXAMPLES = {
    0: [["--version"], ["key", "new", "shop"], ["openapi", "--config", "bridge.toml"]],
    1: [
        ["check", "--config", "wrong.toml"],
        ["send", "/a", "--url", "http://127.0.0.1:1"],
        ["bench", "/a", "--url", "http://127.0.0.1:1"],
        ["jobs", "show", ID, "--url", "http://127.0.0.1:1"],
        ["top", "--admin-key-file", "key", "--url", "http://127.0.0.1:1"],
        ["dlq", "list", "--admin-key-file", "key", "--url", "http://127.0.0.1:1"],
    ],
    2: [
        ["serve", "--config", "wrong.toml"],
        ["serve", "--config", "nowhere.toml"],
        ["openapi", "--config", "wrong.toml"],
        ["send"],
        ["send", "no-path"],
        ["work"],
        ["nothing"],
        ["top", "--admin-key-file", "nowhere"],
    ],
    70: [],  # test_hung_workers.py
    130: [],  # below
}


def test_the_exit_codes_are_those_of_the_page():
    assert codes_of_the_page() == set(EXAMPLES)


@pytest.mark.parametrize(
    ("code", "arguments"), [(code, arguments) for code, many in EXAMPLES.items() for arguments in many]
)
def test_an_exit_code_means_what_the_page_says(code, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text("admin-key")
    (tmp_path / "bridge.toml").write_text(ROUTE)
    (tmp_path / "wrong.toml").write_text(ROUTE + "timeout = 5\n")
    ran = run(*arguments)
    assert ran.code == code, ran
    assert "Traceback" not in ran.err
    assert ran.out or ran.err


# -- Ctrl-C

WORKER = """
from consumers import Worker
worker = Worker()
@worker.handler("a")
async def a(text: str) -> str:
    return text
"""
ADMIN = ["--admin-key-file", "key"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["serve", "--config", "bridge.toml"], 0),
        (["work", "a:worker", "--broker", "stomp://{at}"], 0),
        (["forward", "--queue", "a", "http://127.0.0.1:1", "--broker", "stomp://{at}"], 0),
        (["check", "--config", "bridge.toml"], 130),
        (["send", "/a", "x", "--url", "http://{at}"], 130),
        (["send", "--async", "/a", "--url", "http://{at}"], 130),
        (["bench", "/a", "--url", "http://{at}"], 130),
        (["jobs", "list", "--url", "http://{at}", *ADMIN], 130),
        (["jobs", "show", ID, "--url", "http://{at}"], 130),
        (["jobs", "result", ID, "--wait", "--url", "http://{at}"], 130),
        (["jobs", "cancel", ID, "--url", "http://{at}"], 130),
        (["jobs", "follow", ID, "--url", "http://{at}"], 130),
        (["jobs", "follow", ID, "--url", "http://{at}", *ADMIN], 130),
        (["dlq", "list", "--url", "http://{at}", *ADMIN], 130),
        (["dlq", "replay", "a~ID:1", "--url", "http://{at}", *ADMIN], 130),
        (["top", "--url", "http://{at}", *ADMIN], 130),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else None,
)
def test_ctrl_c_ends_whatever_waits_without_a_trace(start, tmp_path, arguments, code):
    """Whom they wait for takes their connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        at = f"127.0.0.1:{silent.getsockname()[1]}"
        (tmp_path / "key").write_text("admin-key")
        (tmp_path / "a.py").write_text(WORKER)
        (tmp_path / "bridge.toml").write_text(
            f'[server]\nbind = ["127.0.0.1:0"]\n[broker]\nurls = ["stomp://{at}"]\n{ROUTE}'
        )
        command = start(*(argument.format(at=at) for argument in arguments))
        silent.settimeout(READY_WITHIN)
        taken, _ = silent.accept()
        with taken:
            taken.settimeout(READY_WITHIN)
            taken.recv(1)  # it has asked
            command.signal(signal.SIGINT)
            assert command.exit_code() == code, command.output
    assert "Traceback" not in command.output
    assert "Error" not in command.output


# -- where the settings are


def test_the_settings_are_where_a_service_has_them(tmp_path):
    usual = tmp_path / "bridge.toml"
    with pytest.raises(CommandError, match=r"there is no .*bridge\.toml: name the settings with --config") as refused:
        config_file(None, usual)
    assert refused.value.code == 2
    usual.touch()
    assert config_file(None, usual) == usual
    assert config_file(Path("mine.toml"), usual) == Path("mine.toml")


def test_the_environment_may_name_the_settings(tmp_path, monkeypatch):
    (tmp_path / "named.toml").write_text(ROUTE)
    monkeypatch.setenv("MQBRIDGE_CONFIG", str(tmp_path / "named.toml"))
    assert '"/a"' in run("openapi").out
    (tmp_path / "given.toml").write_text(ROUTE.replace("/a", "/b"))
    assert '"/b"' in run("openapi", "--config", tmp_path / "given.toml").out


def test_without_settings_it_says_where_they_are_looked_for(monkeypatch):
    monkeypatch.delenv("MQBRIDGE_CONFIG", raising=False)
    if Path("/etc/mqbridge/bridge.toml").exists():
        pytest.skip("this machine has a bridge's settings")
    for command in ("serve", "check", "openapi"):
        ran = run(command)
        assert (ran.code, "/etc/mqbridge/bridge.toml" in ran.err, "--config" in ran.err) == (2, True, True)
