"""What a handler's result becomes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from pydantic import BaseModel

from consumers import Reply


class Model(BaseModel):
    a: int = 1


@dataclass
class Data:
    a: int = 1


@pytest.mark.parametrize(
    ("value", "reply"),
    [
        (b"\xff", Reply(b"\xff", 200, "application/octet-stream")),
        (bytearray(b"ab"), Reply(b"ab")),
        (memoryview(b"ab"), Reply(b"ab")),
        ("grüß", Reply("grüß".encode(), 200, "text/plain; charset=utf-8")),
        (None, Reply(b"", 204, None)),
        ({"a": [1, None]}, Reply(b'{"a":[1,null]}', 200, "application/json")),
        ([], Reply(b"[]", 200, "application/json")),
        (0, Reply(b"0", 200, "application/json")),
        (False, Reply(b"false", 200, "application/json")),
        (Model(), Reply(b'{"a":1}', 200, "application/json")),
        ([Model()], Reply(b'[{"a":1}]', 200, "application/json")),
        (Data(), Reply(b'{"a":1}', 200, "application/json")),
        (datetime(2026, 1, 2, tzinfo=UTC), Reply(b'"2026-01-02T00:00:00Z"', 200, "application/json")),
        (Reply(b"x", 404), Reply(b"x", 404)),
    ],
    ids=repr,
)
def test_a_result_becomes_a_reply(value, reply):
    assert Reply.of(value) == reply


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_does_not_have_becomes_null(value):
    assert Reply.of({"a": value}).body == b'{"a":null}'


@pytest.mark.parametrize("value", [object(), {"a": object()}, [b"\xff"], "\ud800"])
def test_what_cannot_be_sent_is_an_error_here(value):
    with pytest.raises((TypeError, ValueError)):
        Reply.of(value)


def test_json_with_a_status_and_headers():
    assert Reply.json({}, 201, {"location": "/x"}) == Reply(b"{}", 201, "application/json", {"location": "/x"})


def test_a_problem_names_its_status_and_takes_more_members():
    reply = Reply.problem(409, "twice", type="https://example.org/twice", ran="no")
    assert (reply.status, reply.content_type) == (409, "application/problem+json")
    assert json.loads(reply.body) == {
        "type": "https://example.org/twice",
        "title": "Conflict",
        "status": 409,
        "detail": "twice",
        "ran": "no",
    }


def test_a_problem_needs_a_status_that_http_knows():
    with pytest.raises(ValueError, match="299"):
        Reply.problem(299, "?")


def test_a_reply_cannot_be_changed():
    with pytest.raises(AttributeError):
        Reply().status = 300
