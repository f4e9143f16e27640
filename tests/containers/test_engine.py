"""What happens where there is no engine, and none can be started."""

from __future__ import annotations

import pytest

from tests.containers import engine


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setattr(engine.shutil, "which", lambda *_, **__: None)
    return monkeypatch


def test_in_ci_it_is_a_failure(nowhere: pytest.MonkeyPatch):
    nowhere.setenv("CI", "true")

    with pytest.raises(RuntimeError, match="no Docker engine answers"), engine.docker_engine():
        pass


def test_on_a_laptop_it_is_a_skip_that_says_what_to_do(nowhere: pytest.MonkeyPatch):
    nowhere.delenv("CI", raising=False)

    with pytest.raises(pytest.skip.Exception, match="run scripts/test as root"), engine.docker_engine():
        pass
