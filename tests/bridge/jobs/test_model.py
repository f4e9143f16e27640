"""The life of a job as a table, and what is stored of a key."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace

import pytest

from bridge.jobs.model import GONE_FOR_MS, OPEN, REFUSED_FOR_MS, TRANSITIONS, State, key_of, may_become
from tests.bridge.jobs.make import DAY, NOW, new_job

FINAL = (State.DONE, State.FAILED, State.EXPIRED, State.CANCELLED, State.REFUSED)


def test_the_table_knows_every_state():
    assert set(TRANSITIONS) == set(State)
    assert {State.QUEUED, State.RUNNING} == OPEN


@pytest.mark.parametrize(("now", "then"), list(itertools.product(State, State)))
def test_transitions(now, then):
    if now in FINAL:
        allowed = False
    elif now is State.RUNNING:
        allowed = then not in (State.QUEUED, State.REFUSED)
    else:
        allowed = then is not State.QUEUED
    assert may_become(now, then) == allowed


def test_retention_counts_from_the_end_and_the_memory_of_it_from_there():
    job = new_job().job
    assert job.keep_until_ms is None
    assert job.is_kept(NOW + 100 * DAY)
    done = replace(job, state=State.DONE, finished_ms=NOW)
    assert (done.is_kept(NOW + DAY - 1), done.is_kept(NOW + DAY)) == (True, False)
    end = NOW + DAY + GONE_FOR_MS
    assert (done.is_remembered(end - 1), done.is_remembered(end)) == (True, False)
    assert GONE_FOR_MS == 7 * DAY


def test_a_refused_job_is_kept_for_a_moment_and_never_remembered():
    job = replace(new_job().job, state=State.REFUSED, finished_ms=NOW)
    assert job.is_kept(NOW + REFUSED_FOR_MS - 1)
    assert not job.is_kept(NOW + REFUSED_FOR_MS)
    assert not job.is_remembered(NOW + REFUSED_FOR_MS)


def test_of_a_key_only_its_hash_is_kept():
    key = key_of(b"secret-key", "POST", "/a", b"")
    assert key.sha256 == hashlib.sha256(b"secret-key").hexdigest()
    assert "secret" not in repr(key)


def test_the_fingerprint_is_of_method_target_and_body_and_none_runs_into_the_other():
    requests = [
        ("POST", "/a", b""), ("PUT", "/a", b""), ("POST", "/a?", b""), ("POST", "/a?x=1", b""), ("POST", "/a", b"x"),
        ("POST", "/ax", b""), ("POST", "/a", b"\0"), ("POST/", "a", b""),
    ]  # fmt: skip
    prints = [key_of(b"k", *request).fingerprint for request in requests]
    assert len(set(prints)) == len(requests)
    assert key_of(b"other", "POST", "/a", b"").fingerprint == prints[0]
