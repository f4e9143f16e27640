"""What is published: built, installed into an empty environment, and used from there."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from tests.tools import unavailable

ROOT = Path(__file__).parents[2]
PACKAGES = ("activemq", "bridge", "consumers", "mqbridge")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

USER = """
from bridge.client import BridgeClient, Job
from consumers import Request, Worker

worker = Worker()

@worker.handler("words")
async def count(request: Request) -> dict[str, int]:
    return {"words": len(request.body.split())}

def job(client: BridgeClient) -> Job:
    return client.submit("POST", "/words", content="a b")

reveal_type(job(BridgeClient("http://a")))
reveal_type(worker)
"""


def uv(*arguments: object, cwd: Path | None = None) -> str:
    """Run uv; where it cannot reach an index, on a laptop, that is no fault of ours."""
    command = [sys.executable, "-m", "uv", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    if ran.returncode and ("dns error" in ran.stderr or "Failed to fetch" in ran.stderr):
        unavailable("packages can be had from no index; is the network up?")
    assert ran.returncode == 0, ran.stderr[-3_000:]
    return ran.stdout + ran.stderr


def clean_environment() -> dict[str, str]:
    """The environment without what would lead to this checkout or this interpreter's packages."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> tuple[Path, Path]:
    """The sdist, and the wheel that was built of it."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--out-dir", folder, ROOT)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="session")
def installed(built, tmp_path_factory) -> Path:
    """An environment in which there is nothing but the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("installed") / "env"
    uv("venv", "--python", sys.executable, folder)
    uv("pip", "install", "--python", folder, f"{built[1]}[broker,client,demo,fast]")
    return folder / "bin"


def tracked() -> set[str]:
    listed = subprocess.run(["git", "ls-files", "-z", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return {name for name in listed.stdout.split("\0") if name}
    found = [file for package in PACKAGES for file in (ROOT / package).rglob("*") if "__pycache__" not in file.parts]
    return {file.relative_to(ROOT).as_posix() for file in found if file.is_file()}


def test_the_wheel_holds_each_file_of_the_packages_and_nothing_else(built):
    names = set(zipfile.ZipFile(built[1]).namelist())
    inside = {name for name in names if name.split("/")[0] in PACKAGES}
    assert inside == tracked()
    assert {f"{package}/py.typed" for package in PACKAGES} <= inside
    beside = {name.split("/")[0].split("-")[0] for name in names - inside}
    assert beside == {"activemq_rest_bridge"}


def test_the_wheel_has_its_licence_its_manual_and_its_command(built):
    wheel = zipfile.ZipFile(built[1])
    names = wheel.namelist()
    (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    head = message_from_bytes(wheel.read(metadata))
    assert head["License-Expression"] == "Apache-2.0"
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert any(name.endswith(".data/data/share/man/man1/mqbridge.1") for name in names)
    (entries,) = (name for name in names if name.endswith("entry_points.txt"))
    assert b"mqbridge = mqbridge.cli:main" in wheel.read(entries)
    assert "client" in head.get_all("Provides-Extra")


def test_the_sdist_can_be_worked_with(built):
    with tarfile.open(built[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    for needed in ("pyproject.toml", "README.md", "LICENSE", "scripts/test", "tests/conftest.py", "docs/http.md",
                   "deploy/systemd/mqbridge.service", "examples/bridge.toml"):  # fmt: skip
        assert needed in names
    assert not [name for name in names if ".venv" in name or "__pycache__" in name or name.startswith(".ci")]


def test_the_demo_runs_from_the_installed_wheel(installed, tmp_path):
    environ = clean_environment() | {"PATH": f"{installed}:/usr/local/bin:/usr/bin:/bin"}
    ran = subprocess.run(
        ["mqbridge", "demo", "--once", "--port", "0"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-4_000:]
    assert "all as expected" in ran.stderr


def test_what_is_installed_fits_together_and_is_not_this_checkout(installed, tmp_path):
    uv("pip", "check", "--python", installed / "python")
    code = f"import {', '.join(PACKAGES)}, bridge.client; print(mqbridge.__file__, mqbridge.__version__)"
    ran = subprocess.run(
        [installed / "python", "-c", code],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert str(ROOT) not in ran.stdout
    assert (installed.parent / "share" / "man" / "man1" / "mqbridge.1").is_file()


def test_a_users_program_is_checked_against_the_installed_types(installed, tmp_path):
    (tmp_path / "user.py").write_text(USER)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", installed / "python", "user.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=clean_environment())
    assert ran.returncode == 0, ran.stdout
    assert 'Revealed type is "bridge.client.blocking.Job"' in ran.stdout
    assert 'Revealed type is "consumers.worker.Worker"' in ran.stdout
