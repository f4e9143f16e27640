"""`mqbridge broker-files`: files for a broker of one's own; and the logins that `mqbridge broker` makes."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from activemq.embedded.shipped import USERS


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mqbridge", "broker-files", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("classic", {"activemq.xml"}),
        ("artemis", {"broker.xml", "login.config", "roles.properties", "users.properties"}),
        ("rabbitmq", {"rabbitmq.conf", "definitions.json", "enabled_plugins"}),
    ],
)
def test_files_and_passcodes_are_their_owners_alone(tmp_path: Path, kind: str, files: set[str]) -> None:
    done = run(kind, tmp_path / "made", "--queue", "orders", "--queue", "images.>")
    made = {path for path in (tmp_path / "made").rglob("*") if path.is_file()}
    assert {path.name for path in made} == files | set(USERS)
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}
    passcodes = {(tmp_path / "made/passcodes" / user).read_text().strip() for user in USERS}
    assert len(passcodes) == 3
    assert not any(passcode in done.stdout + done.stderr for passcode in passcodes)
    if kind == "rabbitmq":
        text = (tmp_path / "made/definitions.json").read_text()
        assert not any(passcode in text for passcode in passcodes)
        assert {user["name"] for user in json.loads(text)["users"]} == set(USERS)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "broker.xml").write_text("mine")
    done = run("artemis", tmp_path, "--queue", "orders", code=1)
    assert "broker.xml: there already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["broker.xml"]
    assert (tmp_path / "broker.xml").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["classic", "x", "--queue", ">"], "name the workers' queues"),
        (["classic", "x", "--queue", "a,b"], "'a,b'"),
        (["activemq", "x", "--queue", "a"], "there are classic, artemis, rabbitmq"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, arguments: list[str], said: str) -> None:
    assert said in run(arguments[0], tmp_path / arguments[1], *arguments[2:], code=2).stderr
    assert not list(tmp_path.iterdir())
