"""`mqbridge key new`: the hash for the settings, the key for its owner and nobody else."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
import tomllib
from hashlib import sha256
from pathlib import Path

import pytest

from bridge.settings import parse

ROUTE = '[[route]]\nname = "words"\npath = "/words"\nqueue = "words"\n'
KEY = re.compile(r"mqb_[A-Za-z0-9_-]{43}")


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mqbridge", "key", "new", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code, done.stderr
    return done


def test_the_table_goes_to_the_output_and_the_key_does_not() -> None:
    command = run("shop", "--route", "words")
    (key,) = KEY.findall(command.stderr)
    assert key not in command.stdout
    (caller,) = parse(ROUTE + command.stdout).callers
    assert (caller.name, caller.routes) == ("shop", ("words",))
    assert caller.key_sha256 == sha256(key.encode()).hexdigest()


def test_a_caller_without_routes_has_a_place_for_them() -> None:
    command = run("shop")
    assert tomllib.loads(command.stdout)["caller"][0]["routes"] == []


def test_the_operators_key_has_a_table_of_its_own() -> None:
    command = run("--admin")
    (key,) = KEY.findall(command.stderr)
    assert parse(command.stdout).admin.key_sha256 == sha256(key.encode()).hexdigest()


def test_a_key_in_a_file_is_shown_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "key"
    command = run("shop", "--key-file", path, "--json")
    key = path.read_text().strip()
    assert KEY.fullmatch(key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key not in command.stdout + command.stderr
    assert json.loads(command.stdout) == {
        "name": "shop",
        "routes": [],
        "key_sha256": sha256(key.encode()).hexdigest(),
    }


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("precious")
    command = run("shop", "--key-file", path, code=1)
    assert path.read_text() == "precious"
    assert str(path) in command.stderr


def test_each_key_is_another() -> None:
    keys = {json.loads(run("shop", "--json").stdout)["key"] for _ in range(3)}
    assert len(keys) == 3


@pytest.mark.parametrize(
    "arguments",
    [(), ("shop", "--admin"), ("--admin", "--route", "a"), ("no name",), ("shop", "--route", "no route")],
    ids=str,
)
def test_what_makes_no_sense_is_refused(arguments) -> None:
    assert not run(*arguments, code=2).stdout
