"""docs/reliability.md says of every answer what the contract says of it, and has the figures of its last run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bridge.problems import TABLE
from tests.faults.invariants import INVARIANTS
from tests.faults.report import PAGE, read, rendered, with_figures
from tests.faults.scenarios import BY_NAME

TEXT = PAGE.read_text()
ANSWERS = {
    name: (ran.strip(), retry.strip())
    for name, ran, retry in re.findall(r"^\| `([a-z-]+)` \| ([^|]*) \| ([^|]*) \|$", TEXT, re.MULTILINE)
}


def test_every_problem_is_in_the_table_of_answers_and_no_other():
    assert set(ANSWERS) == set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_it_says_what_the_contract_says_of_whether_it_ran(name):
    row = TABLE[name]
    values = "–" if row.ran is None else " / ".join((row.ran, *row.also))
    assert ANSWERS[name][0] == values


@pytest.mark.parametrize("name", TABLE)
def test_no_retry_is_called_safe_where_it_may_have_run(name):
    ran, retry = ANSWERS[name]
    assert retry
    if ran in ("maybe", "yes"):
        assert not retry.startswith("yes")
    if "/" in ran:
        assert "if `no`: yes" in retry
        assert "with a key" in retry


def test_each_invariant_is_on_the_page():
    listed = re.findall(r"^(\d+)\. ", TEXT.partition("## How it is tested")[2], re.MULTILINE)
    assert [int(number) for number in listed] == list(range(1, len(INVARIANTS) + 1))


RUN = {
    "scenario": "kill-worker", "form": "long", "calls": {"200": 90, "202": 5, "no-worker": 3, "0": 2},
    "kinds": {"held": 94, "job": 5, "keyed": 1}, "executions": 97, "faults": {"kill -9 worker": 7}, "violations": 0,
    "seconds": 61.2, "broker": "classic", "machine": "x86_64", "day": "2026-01-02",
}  # fmt: skip
MACHINE = {"broker": "ActiveMQ", "processor": "P, 2 cores", "memory": "8 GiB", "Python": "3.11"}


def test_figures_are_those_of_the_runs():
    text = rendered([RUN, {**RUN, "form": "short", "violations": 1}], MACHINE)
    assert "200 calls, of which 190 had a worker's answer" in text
    assert "12 of all were jobs. 194 executions, 14 faults, **1 violations**, in 2 minutes" in text
    assert "| kill-worker | 100 | 90 | 5 | 5 | kill -9 worker ×7 | 0 | 61 |" in text
    assert "| kill-worker (short) |" in text


def test_two_runs_of_a_scenario_are_one_line(tmp_path):
    for number in range(2):
        (tmp_path / f"kill-worker-{number}.json").write_text(json.dumps(RUN))
    (tmp_path / "hang-1.json").write_text(json.dumps({**RUN, "scenario": "hang"}))
    first, second = read(tmp_path)
    assert (first["scenario"], first["calls"]["200"], first["faults"]) == ("kill-worker", 180, {"kill -9 worker": 14})
    assert (second["scenario"], second["executions"]) == ("hang", 97)


def test_figures_take_the_place_of_those_before():
    once = with_figures(TEXT, "one\n")
    assert with_figures(once, "two\n") == once.replace("one\n", "two\n")
    assert "one\n" in once


def test_the_figures_on_the_page_are_of_scenarios_that_there_are():
    names = re.findall(r"^\| ([a-z-]+)(?: \(short\))? \| [\d,]+ \|", TEXT, re.MULTILINE)
    assert set(names) <= set(BY_NAME)


def test_it_is_in_the_documentation_where_a_reader_of_the_contract_finds_it():
    assert "reliability.md" in (Path(PAGE).parent / "http.md").read_text()
