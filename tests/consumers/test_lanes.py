"""How slots are shared among queues."""

from __future__ import annotations

import pytest

from consumers.lanes import share


def test_without_a_reserve_each_queue_gets_all():
    assert share(["a", "b"], 3, {}) == {"a": 3, "b": 3}


def test_a_reserved_queue_gets_its_own_and_the_others_the_rest():
    assert share(["long", "short"], 8, {"short": 2}) == {"long": 6, "short": 2}


def test_the_rest_is_shared_evenly_the_first_ones_get_what_is_over():
    assert share(["a", "b", "short"], 6, {"short": 1}) == {"a": 3, "b": 2, "short": 1}


def test_a_worker_may_have_reserved_queues_only():
    assert share(["short"], 2, {"short": 2}) == {"short": 2}


@pytest.mark.parametrize(
    ("queues", "concurrency", "reserve", "said"),
    [
        (["a", "short"], 2, {"short": 2}, "too few"),
        (["short"], 1, {"short": 2}, "too few"),
        (["a"], 4, {"short": 2}, "'short'"),
        (["short"], 4, {"short": 0}, "at least one"),
    ],
)
def test_what_leaves_a_queue_without_a_slot_is_refused(queues, concurrency, reserve, said):
    with pytest.raises(ValueError, match=said):
        share(queues, concurrency, reserve)
