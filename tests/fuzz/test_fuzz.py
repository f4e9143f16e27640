"""The corpus, always; then a few seconds of fuzzing for each target, or more: ``--fuzz-seconds 600``."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.kept import CORPUS, kept
from tests.fuzz.targets import TARGETS, Broken, check

ROOT = Path(__file__).parents[2]


def test_each_target_has_a_corpus_and_each_corpus_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_what_was_found_once_is_found_no_more(target: str) -> None:
    for name, data in kept(target):
        try:
            TARGETS[target](data)
        except Exception as error:
            raise AssertionError(f"corpus/{target}/{name}: {data[:200]!r}") from error


def test_a_broken_promise_is_told() -> None:
    with pytest.raises(Broken, match="nothing holds"):
        check(False, "nothing holds")


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_new_is_found(target: str, pytestconfig: pytest.Config, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        assert not os.environ.get("CI"), "atheris is not installed"
        pytest.skip("atheris has no wheel for this machine or Python; the corpus above was run")
    seconds = pytestconfig.getoption("--fuzz-seconds")
    code = "import sys; from pathlib import Path; from tests.fuzz.run import fuzz\n"
    code += f"sys.exit(fuzz({target!r}, {seconds}, crashes=Path({str(tmp_path)!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, errors="replace", check=False
    )
    found = [path.read_bytes() for path in tmp_path.glob("fuzz-*")]
    assert done.returncode == 0, f"{found}\n{done.stdout}\n{done.stderr[-3_000:]}"
    assert not found
    assert "stat::number_of_executed_units" in done.stderr + done.stdout, "it ran"
