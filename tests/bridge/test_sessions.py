"""The operator's session: a cookie that only this bridge can make, for so long and no longer."""

from __future__ import annotations

import pytest

from bridge.sessions import LASTS, SECRET_BYTES, Sessions

SECRET = b"s" * SECRET_BYTES


def at(now, secret=SECRET):
    return Sessions(secret, lambda: now)


def test_a_session_holds_until_its_end():
    cookie = at(1_000.0).make()
    assert at(1_000.0 + LASTS - 1).admits(cookie)
    assert not at(1_000.0 + LASTS).admits(cookie)


def test_processes_that_share_the_secret_share_the_sessions_and_others_do_not():
    assert at(0.0, SECRET).admits(at(0.0, SECRET).make())
    assert not at(0.0, b"t" * SECRET_BYTES).admits(at(0.0, SECRET).make())


@pytest.mark.parametrize(
    "change",
    [
        lambda cookie: "9" + cookie,
        lambda cookie: str(int(cookie.partition(".")[0]) + 1) + "." + cookie.partition(".")[2],
        lambda cookie: cookie[:-1] + ("0" if cookie[-1] != "0" else "1"),
        lambda cookie: cookie + " ",
        lambda cookie: cookie.partition(".")[0],
        lambda _: "",
        lambda _: None,
        lambda _: "." * 100,
        lambda _: "\u0661" * 5 + "." + "a" * 64,
    ],
)
def test_nothing_else_is_one(change):
    assert not at(0.0).admits(change(at(0.0).make()))


def test_the_secret_is_not_shown():
    assert "s" * 5 not in repr(at(0.0))
