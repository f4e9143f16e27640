"""What one caller may do, and how much."""

from __future__ import annotations

import pytest

from bridge.access import ANYBODY, Principal
from bridge.problems import Problem


def refusal(action, *arguments):
    with pytest.raises(Problem) as caught:
        action(*arguments)
    return caught.value


def test_a_caller_may_call_its_own_routes_only():
    shop = Principal("shop", ["a"])
    assert (shop.may_call("a"), shop.may_call("b"), Principal("none", ()).may_call("a")) == (True, False, False)


def test_anybody_may_call_all_without_a_limit():
    ANYBODY.check_held()
    for _ in range(1_000):
        ANYBODY.check_rate(0.0)
    assert ANYBODY.may_call("whatever")


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_a_caller_holds_its_limit_and_no_more(limit):
    shop = Principal("shop", None, limit)
    shop.held = limit - 1
    shop.check_held()
    shop.held = limit
    problem = refusal(shop.check_held)
    assert (problem.name, dict(problem.headers)[b"retry-after"]) == ("caller-limit", b"1")


def test_a_rate_that_is_used_up_says_when_to_come_back():
    shop = Principal("shop", None, 10, "1/m")
    shop.check_rate(5.0)
    problem = refusal(shop.check_rate, 5.5)
    assert (problem.name, dict(problem.headers)[b"retry-after"]) == ("caller-limit", b"60")
    shop.check_rate(65.0)


def test_new_rights_leave_what_is_held_and_the_rest_of_a_rate_that_stays():
    shop = Principal("shop", ["a"], 10, "1/h")
    shop.held = 3
    shop.check_rate(0.0)
    shop.renew(["b"], 3, "1/h")
    assert (shop.may_call("a"), shop.may_call("b"), shop.held) == (False, True, 3)
    assert refusal(shop.check_held).name == "caller-limit"
    assert refusal(shop.check_rate, 1.0).name == "caller-limit"


def test_another_rate_begins_anew():
    shop = Principal("shop", None, 10, "1/h")
    shop.check_rate(0.0)
    shop.renew(None, 10, "2/h")
    shop.check_rate(0.0)
