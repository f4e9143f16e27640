"""The order of what workers say: the rules, without a store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.jobs.model import State
from bridge.jobs.notices import Place, add, place_of
from bridge.jobs.trail import Notice, Trail
from tests.bridge.jobs.make import NOW, new_job

JOB = new_job().job


def running(attempts=1, sequence=-1, **trail):
    return replace(JOB, state=State.RUNNING, attempts=attempts, trail=Trail(sequence=sequence, **trail))


def notice(kind="progress", attempt=1, sequence=None, data=b"1"):
    return Notice(kind, attempt, sequence, data)


@pytest.mark.parametrize(
    ("last", "sequence", "place"),
    [
        (-1, 0, Place.NEXT), (-1, 1, Place.NEXT), (-1, 2, Place.EARLY),
        (0, 0, Place.STALE), (0, 1, Place.NEXT), (0, 2, Place.EARLY),
        (5, 4, Place.STALE), (5, 5, Place.STALE), (5, 6, Place.NEXT), (5, 7, Place.EARLY), (5, None, Place.NEXT),
    ],
)  # fmt: skip
def test_whose_turn_it_is(last, sequence, place):
    assert place_of(running(sequence=last), 1, sequence) is place
    assert place_of(running(sequence=last), None, sequence) is place


def test_another_attempt_counts_anew_and_an_earlier_one_is_over():
    job = running(attempts=2, sequence=7)
    assert place_of(job, 3, 1) is Place.NEXT
    assert place_of(job, 3, 2) is Place.EARLY
    assert place_of(job, 1, 8) is Place.STALE
    assert place_of(job, 1, None) is Place.STALE


def test_started_has_its_turn_whenever_it_comes():
    assert place_of(running(sequence=7), 1, 0, numbered=False) is Place.NEXT


@pytest.mark.parametrize("state", [State.DONE, State.FAILED, State.EXPIRED, State.CANCELLED, State.REFUSED])
def test_nothing_has_its_turn_after_the_end(state):
    assert place_of(replace(JOB, state=state), 9, None) is Place.STALE


def test_the_first_word_of_an_attempt_is_its_start():
    job, events = add(JOB, notice(sequence=1, data=b"10"), NOW)
    assert [(event.number, event.kind, event.data) for event in events] == [
        (1, "started", b'{"attempt":1}'),
        (2, "progress", b"10"),
    ]
    assert (job.state, job.attempts, job.started_ms, job.progress) == (State.RUNNING, 1, NOW, b"10")
    again, events = add(job, notice("started", sequence=0, data=b""), NOW + 1)
    assert (again, events) == (job, [])
    second, events = add(job, notice("started", attempt=2, sequence=0, data=b""), NOW + 5)
    assert [(event.number, event.data) for event in events] == [(3, b'{"attempt":2}')]
    assert (second.attempts, second.started_ms, second.progress, second.trail.sequence) == (2, NOW, None, -1)


@pytest.mark.parametrize(("sequence", "number"), [(3, 6), (4, 7), (90, 7), (None, 6)])
def test_the_number_of_what_never_came_is_left_out(sequence, number):
    job = running(sequence=2, last=5)
    _, (event,) = add(job, notice("chunk", sequence=sequence), NOW)
    assert event.number == number


def test_the_number_of_a_part_that_is_too_large_is_left_out_and_progress_of_that_size_is_nothing():
    job, events = add(running(sequence=2, last=5), notice("chunk", sequence=3, data=None), NOW)
    assert (events, job.trail.last, job.trail.sequence) == ([], 6, 3)
    job, events = add(job, notice("progress", sequence=4, data=None), NOW)
    assert (events, job.trail.last, job.trail.sequence, job.progress) == ([], 6, 4, None)


def test_a_word_without_an_attempt_is_of_the_highest():
    job, _ = add(running(attempts=3), notice(attempt=None), NOW)
    assert job.attempts == 3
    job, _ = add(JOB, notice(attempt=None), NOW)
    assert job.attempts == 1
