"""scripts/_venv, with programs in place of Python that say what they were asked for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WITH_PIP = '#!/bin/sh\necho "$*" >> "{log}"\n'
WITHOUT_PIP = '#!/bin/sh\necho "/usr/bin/python: No module named pip" >&2\nexit 1\n'
# It makes what `python -m venv` would.
MAKER = '#!/bin/sh\n[ "$2" = venv ] || exit 0\nrm -rf "$4"\nmkdir -p "$4/bin"\ncp "{made}" "$4/bin/python"\n'


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("scripts/_venv", "scripts/run.lock", "deploy/build.lock", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    program(tmp_path / "made", WITH_PIP.format(log=tmp_path / "asked"))
    program(tmp_path / "python", MAKER.format(made=tmp_path / "made"))
    return tmp_path


def prepare(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", "set -euo pipefail; . scripts/_venv run"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "MQBRIDGE_PYTHON": str(folder / "python")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_environment_without_pip_is_made_anew(folder: Path) -> None:
    program(folder / ".venv/bin/python", WITHOUT_PIP)
    (folder / ".venv/rest").touch()
    done = prepare(folder)
    assert done.returncode == 0, done.stderr
    assert ".venv is not whole; making it anew" in done.stderr
    assert not (folder / ".venv/rest").exists()
    assert (folder / "asked").read_text().count("pip install") == 3


def test_what_is_installed_already_is_left_alone(folder: Path) -> None:
    assert prepare(folder).returncode == 0
    (folder / "asked").unlink()
    assert prepare(folder).stderr == ""
    assert not (folder / "asked").exists()


def test_a_package_that_cannot_be_installed_is_said_with_pips_own_words(folder: Path) -> None:
    program(folder / "made", '#!/bin/sh\n[ "$3" = --version ] || { echo "no space left" >&2; exit 1; }\n')
    done = prepare(folder)
    assert done.returncode == 1
    assert "no space left\nscripts: pip could not install the packages" in done.stderr


def test_an_interruption_is_no_failure_of_the_network(folder: Path) -> None:
    program(folder / "made", '#!/bin/sh\n[ "$3" = --version ] || { kill -INT $PPID; exit 1; }\n')
    done = prepare(folder)
    assert done.returncode == 130
    assert done.stderr.endswith("scripts: interrupted; run it again to go on\n")
    assert "could not" not in done.stderr
