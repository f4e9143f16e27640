"""Which jobs a cancellation stops, where two have one correlation id."""

from __future__ import annotations

from activemq import Frame
from consumers.policies.cancellations import Cancellations

CANCEL = Frame.of("MESSAGE", {"correlation-id": "c1"})


def two_jobs(cancellations):
    stopped = []

    def first():
        stopped.append("first")

    def second():
        stopped.append("second")

    cancellations.begin("c1", first)
    cancellations.begin("c1", second)
    return first, second, stopped


def test_all_jobs_of_an_id_are_stopped():
    cancellations = Cancellations(None)
    *_, stopped = two_jobs(cancellations)
    cancellations.on_cancel(CANCEL)
    assert stopped == ["first", "second"]


def test_the_end_of_one_attempt_leaves_the_other_to_be_stopped():
    cancellations = Cancellations(None)
    first, _, stopped = two_jobs(cancellations)
    cancellations.end(first)
    cancellations.on_cancel(CANCEL)
    assert stopped == ["second"]


def test_others_go_on():
    cancellations = Cancellations(None)
    *_, stopped = two_jobs(cancellations)
    cancellations.on_cancel(Frame.of("MESSAGE", {"correlation-id": "c2"}))
    assert stopped == []


def test_an_id_is_remembered_also_if_a_job_of_it_ran():
    cancellations = Cancellations(None)
    two_jobs(cancellations)
    cancellations.on_cancel(CANCEL)
    assert "c1" in cancellations
