"""The table of differences between brokers names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.differences import DIFFERENCES

ROOT = Path(__file__).parents[1]
ALL = {(kind, what): instead for kind, table in DIFFERENCES.items() for what, instead in table.items()}


def names_in(path: Path) -> set[str]:
    return set(re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize(("what", "instead"), ALL.items(), ids=lambda value: str(value)[:80])
def test_both_sides_of_a_difference_exist(what: tuple[str, str], instead: str) -> None:
    path, _, name = instead.partition("::")
    assert name in names_in(ROOT / path)
    left_out = what[1]
    if left_out.endswith(".py"):
        assert (ROOT / left_out).exists()
    else:
        known = set().union(*(names_in(file) for file in (ROOT / "tests").rglob("test_*.py")))
        assert left_out.partition("[")[0] in known


LINKS = re.findall(r"\[`(test_\w+)(…|\.py)?`\]\(\.\./(tests/[\w/.]+)\)", (ROOT / "docs" / "brokers.md").read_text())


@pytest.mark.parametrize(("name", "rest", "path"), LINKS, ids=lambda value: str(value)[:60])
def test_what_the_matrix_of_brokers_links_to_exists(name: str, rest: str, path: str) -> None:
    if rest == ".py":
        assert path.endswith(f"/{name}.py")
        assert (ROOT / path).exists()
    else:
        assert any(known == name or (rest and known.startswith(name)) for known in names_in(ROOT / path))
