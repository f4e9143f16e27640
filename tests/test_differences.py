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


PAGE = (ROOT / "docs" / "brokers.md").read_text()
LINKS = re.findall(r"\[`(test_\w+)(…|\.py)?`\]\(\.\./(tests/[\w/.]+)\)", PAGE)
PATHS = sorted(set(re.findall(r"\]\(\.\./(tests/[\w/.]+)\)", PAGE)))
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.partition("| | ActiveMQ Classic")[2].partition("\n\n")[0].splitlines()[2:]
]


@pytest.mark.parametrize(("name", "rest", "path"), LINKS, ids=lambda value: str(value)[:60])
def test_what_the_matrix_of_brokers_links_to_exists(name: str, rest: str, path: str) -> None:
    if rest == ".py":
        assert path.endswith(f"/{name}.py")
        assert (ROOT / path).exists()
    else:
        assert any(known == name or (rest and known.startswith(name)) for known in names_in(ROOT / path))


@pytest.mark.parametrize("path", PATHS)
def test_each_place_that_the_matrix_of_brokers_links_to_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0])[:40])
def test_each_cell_of_the_matrix_of_brokers_names_its_test_or_is_as_the_one_before(row: list[str]) -> None:
    _, classic, *others = row
    assert len(others) == 2
    assert "](../tests/" in classic
    for cell in others:
        assert cell.startswith(("the same", "not tried")) or "](../tests/" in cell


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0])[:40])
def test_what_the_matrix_says_of_every_broker_is_run_on_every_broker(row: list[str]) -> None:
    for path in re.findall(r"\[every broker\]\(\.\./(tests/[\w/.]+)\)", " ".join(row)):
        files = [ROOT / path] if path.endswith(".py") else [*(ROOT / path).glob("test_*.py")]
        assert any("every_broker" in file.read_text() for file in files)


def test_each_row_of_rabbitmqs_table_names_its_test_or_says_that_nobody_runs_it() -> None:
    table = PAGE.partition("| what | on RabbitMQ | shown by |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(table) > 10
    for line in table:
        assert "](../tests/" in line.rpartition(" | ")[2] or "seen by hand" in line, line
