"""The last calls, and the last problems for longer."""

from __future__ import annotations

import pytest

from bridge.figures.ledger import CALLS, PROBLEMS, REFUSED, Ended, Ledger


def ended(number, outcome="2xx"):
    return Ended(f"{number:032x}", "words", "", "POST", b"/words", 200, 0.0, 0.001, 0.01, outcome, "", 1.0, 2.0, 1)


def test_a_call_is_found_by_its_id():
    ledger = Ledger()
    ledger.note(ended(1))
    assert ledger.find(f"{1:032x}") == ended(1)
    assert ledger.find("0" * 32) is None


@pytest.mark.parametrize(("more", "first_is_kept"), [(-1, True), (0, True), (1, False)])
def test_as_many_are_kept_as_are_said(more, first_is_kept):
    ledger = Ledger()
    for number in range(CALLS + more):
        ledger.note(ended(number))
    assert (ledger.find(f"{0:032x}") is not None) is first_is_kept


def test_problems_are_kept_while_answers_go_by():
    ledger = Ledger()
    ledger.note(ended(0, "no-worker"))
    for number in range(1, 2 * CALLS):
        ledger.note(ended(number))
    assert ledger.find(f"{0:032x}").outcome == "no-worker"


def test_the_last_problems_come_newest_first_and_are_bounded():
    ledger = Ledger()
    for number in range(PROBLEMS + 5):
        ledger.note(ended(number, "deadline"))
    listed = [each.correlation_id for each in ledger.problems()]
    assert listed == [f"{number:032x}" for number in range(PROBLEMS + 4, 4, -1)]


@pytest.mark.parametrize("outcome", ["2xx", "5xx", "caller-gone"])
def test_an_answer_is_no_problem(outcome):
    ledger = Ledger()
    ledger.note(ended(1, outcome))
    assert not list(ledger.problems())


@pytest.mark.parametrize("outcome", ["unauthenticated", "forbidden"])
def test_those_who_may_not_call_push_no_problem_out(outcome):
    ledger = Ledger()
    for number in range(PROBLEMS):
        ledger.note(ended(number, "deadline")._replace(at=float(number)))
    for number in range(PROBLEMS, 2 * CALLS):
        ledger.note(ended(number, outcome)._replace(at=float(number)))
    ledger.note(ended(2 * CALLS, "no-worker")._replace(at=2.0 * CALLS))
    listed = [each.outcome for each in ledger.problems()]
    assert listed == ["no-worker", *[outcome] * REFUSED, *["deadline"] * (PROBLEMS - 1)]
    assert ledger.find(f"{PROBLEMS - 1:032x}").outcome == "deadline"
