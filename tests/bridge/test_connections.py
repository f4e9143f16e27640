"""What holds for every connection."""

from __future__ import annotations

import resource

import pytest

from bridge.connections import KEPT_BACK, Bucket, connections_allowed


def test_a_bucket_is_emptied_and_filled_again():
    bucket = Bucket(size=3, per_second=1.0)
    assert bucket.take(3, 0.0)
    assert not bucket.take(1, 0.5)
    assert bucket.take(1, 2.0)
    assert not bucket.take(3, 3.0)
    assert bucket.take(3, 100.0)


@pytest.mark.parametrize(
    ("soft", "wanted", "allowed"), [(1_024, 20_000, 1_024 - KEPT_BACK), (1_024, 10, 10), (50, 10, 1)]
)
def test_no_more_connections_than_the_system_has_descriptors_for(monkeypatch, soft, wanted, allowed):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    assert connections_allowed(wanted) == allowed


def test_without_a_limit_of_the_system_there_are_as_many_as_are_wanted(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert connections_allowed(20_000) == 20_000
