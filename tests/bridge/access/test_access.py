"""Callers that are known by their tokens only: how many are kept, and whose limits they have."""

from __future__ import annotations

import pytest

from bridge.access import access
from bridge.access.access import Access
from bridge.settings import Jwt, Settings

JWT = Jwt(issuer="i", audience="a", jwks_url="https://i.example/keys", max_held=1)


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setattr(access, "MOST_BY_TOKEN", 3)
    made = Access(Settings(jwt=JWT))
    return lambda name: made._of_token(name, made._tokens)


def test_the_idle_one_that_called_longest_ago_is_forgotten(known):
    first = known("first")
    second = known("second")
    for name in ("third", "fourth"):
        known(name)
    assert known("second") is second
    assert known("first") is not first


def test_one_who_holds_something_is_not_forgotten(known):
    first = known("first")
    first.held = 1
    for name in ("second", "third", "fourth", "fifth"):
        known(name)
    assert known("first") is first


def test_the_newest_keeps_its_limits_also_when_all_others_hold_something(known):
    for name in ("first", "second", "third"):
        known(name).held = 1
    newest = known("newest")
    newest.held = 1
    assert known("newest") is newest
