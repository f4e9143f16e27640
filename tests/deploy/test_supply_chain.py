"""What is installed is locked, file by file, and listed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from activemq.embedded.artifacts import DISTRIBUTIONS, load_lock

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
OURS = PROJECT["project"]["name"]
WANTED = {
    "scripts/dev.lock": ["dev"],
    "scripts/run.lock": ["fast", "broker", "demo"],
    "deploy/requirements.lock": ["fast", "mysql", "postgresql", "demo", "tracing"],
}
LOCKS = [*WANTED, "deploy/build.lock"]


def locked(lock: str) -> dict[str, set[str]]:
    """Name → versions: there can be one for each platform or Python."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / lock).read_text().splitlines():
        if line[:1].isalpha():
            pin = Requirement(line.rstrip(" \\"))
            found.setdefault(pin.name, set()).update(one.version for one in pin.specifier)
    return found


def wanted(extra: str) -> list[Requirement]:
    found = []
    for requirement in map(Requirement, EXTRAS[extra]):
        if requirement.name == OURS:
            found += [one for name in requirement.extras for one in wanted(name)]
        else:
            found.append(requirement)
    return found


@pytest.mark.parametrize("lock", WANTED)
def test_a_lock_is_of_what_pyproject_asks_for(lock: str) -> None:
    """Else scripts/lock was forgotten."""
    pins = locked(lock)
    asked = [
        *map(Requirement, PROJECT["project"]["dependencies"]),
        *(one for name in WANTED[lock] for one in wanted(name)),
    ]
    for requirement in asked:
        for version in pins[canonicalize_name(requirement.name)]:
            assert requirement.specifier.contains(version), f"{requirement}: {lock} has {version}"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_with_hashes_and_no_registry_is_named(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    blocks = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) >= len(locked(lock)) > 5
    for block in blocks:
        assert re.match(r"[a-z0-9._-]+==\S+", block), block[:80]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block[:80]


def test_what_runs_is_what_was_tested() -> None:
    tested = locked("scripts/dev.lock")
    for lock in ("scripts/run.lock", "deploy/requirements.lock"):
        for name, versions in locked(lock).items():
            assert versions <= tested[name], f"{name} in {lock}"


def test_scripts_install_nothing_without_a_hash() -> None:
    text = (ROOT / "scripts/_venv").read_text()
    installs = [line for line in text.splitlines() if re.match(r"\s*install --", line)]
    assert len(installs) == 3
    for line in installs:
        assert "--require-hashes" in line or "--no-deps --no-build-isolation --editable" in line, line
    for script in (ROOT / "scripts").iterdir():
        if script.is_file() and script.name != "_venv":
            assert "pip install" not in script.read_text(errors="replace"), script.name


@pytest.fixture(scope="module")
def sbom() -> dict:
    return json.loads((ROOT / "deploy/sbom.cdx.json").read_text())


def test_the_list_of_parts_is_made_of_the_locks() -> None:
    """Else scripts/sbom was forgotten; and twice in a row it is the same."""
    command = [sys.executable, "scripts/sbom.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_list_of_parts_is_cyclonedx() -> None:
    text = (ROOT / "deploy/sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_it_names_every_package_of_the_image_and_every_jar_with_its_hash(sbom: dict) -> None:
    parts = {part["purl"]: part for part in sbom["components"]}
    for name, versions in locked("deploy/requirements.lock").items():
        assert {f"pkg:pypi/{name}@{version}" for version in versions} <= parts.keys()
    for broker in DISTRIBUTIONS.values():
        for jar in broker.coordinates:
            part = parts[f"pkg:maven/{jar.group}/{jar.name}@{jar.version}"]
            assert part["hashes"] == [{"alg": "SHA-256", "content": load_lock(broker)[jar.file_name]}]


def test_an_audit_without_a_database_says_that_nothing_was_audited(tmp_path: Path) -> None:
    """With a database that knows nothing pip-audit finds nothing: that is told apart by a version that has holes."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "audit").write_text((ROOT / "scripts/audit").read_text())
    (folder / "_venv").write_text(f"root={tmp_path}\n")
    program = tmp_path / ".venv/bin/pip-audit"
    program.parent.mkdir(parents=True)
    for says, exits, code in (("No known vulnerabilities found", 0, 2), ("PYSEC-2019-217", 1, 1)):
        program.write_text(f"#!/bin/sh\necho '{says}'\nexit {exits}\n")
        program.chmod(0o755)
        done = subprocess.run(["bash", folder / "audit"], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert ("nothing was audited" in done.stderr) == (code == 2)
