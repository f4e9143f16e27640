"""A reply as a response, or why it cannot be one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activemq.frames import Frame
from bridge.problems import Problem
from bridge.routing import ServedRoute
from bridge.settings import Route
from bridge.translate import answer_of

ROUTE = ServedRoute(
    Route(name="r", path="/r", queue="r", max_reply=100, pass_reply_headers=("etag", "cache-control", "x-a"))
)


def reply(body=b"", **headers):
    return Frame.of("MESSAGE", {"correlation-id": "c", **headers}, body)


def answer(body=b"", **headers):
    return answer_of(reply(body, **headers), ROUTE)


def refusal(frame):
    with pytest.raises(Problem) as caught:
        answer_of(frame, ROUTE)
    return caught.value


def bad(body=b"", **headers):
    problem = refusal(reply(body, **headers))
    assert (problem.name, problem.row.status, problem.ran or problem.row.ran) == ("bad-reply", 502, "yes")
    return problem.detail


def test_status_headers_and_body():
    found = answer(b"abc", http_status="404", content_type="a/b", http_header_etag="1", http_header_other="no")
    assert (found.status, found.body) == (404, b"abc")
    assert found.headers == [(b"content-type", b"a/b"), (b"content-length", b"3"), (b"etag", b"1")]


def test_without_a_status_it_is_200():
    assert answer().status == 200


@pytest.mark.parametrize("status", ["200", "204", "299", "300", "418", "599"])
def test_statuses_that_are_allowed(status):
    assert answer(http_status=status).status == int(status)


@pytest.mark.parametrize(
    "status",
    [
        "",
        "abc",
        "99",
        "100",
        "101",
        "199",
        "600",
        "999",
        "1000",
        "0200",
        "200.0",
        "+200",
        "-200",
        " 200",
        "20o",
        "\uff12\uff10\uff10",
    ],
)
def test_any_other_status_is_a_bad_reply_that_names_the_field(status):
    assert "http_status" in bad(http_status=status)


@pytest.mark.parametrize("status", ["204", "205", "304"])
def test_a_body_with_a_status_that_has_none_is_a_bad_reply(status):
    assert answer(http_status=status).headers == []
    assert status in bad(b"x", http_status=status)


@pytest.mark.parametrize(("size", "fits"), [(0, True), (99, True), (100, True), (101, False)])
def test_a_body_has_the_routes_limit(size, fits):
    if fits:
        assert answer(b"x" * size).body == b"x" * size
    else:
        assert "100 bytes" in bad(b"x" * size)


def test_a_body_that_was_thrown_away_as_oversize_is_a_bad_reply():
    frame = reply()
    frame.oversize = 10**7
    assert refusal(frame).name == "bad-reply"


@pytest.mark.parametrize("name", ["content_type", "http_header_etag"])
@pytest.mark.parametrize("control", ["\r", "\n", "\r\nx: y", "\0", "\x1b", "\x7f"])
def test_a_header_with_a_control_character_is_a_bad_reply_that_names_the_field(name, control):
    if control == "\0":  # no STOMP header can hold it; a hostile frame can
        frame = Frame("MESSAGE", f"\n{name}:a{control}b")
        assert refusal(frame).name == "bad-reply"
    else:
        assert name in bad(**{name: f"a{control}b"})


def test_a_header_with_an_undefined_escape_is_a_bad_reply():
    for name in ("http_status", "content_type", "http_header_etag", "problem", "work_ms"):
        assert refusal(Frame("MESSAGE", f"\n{name}:\\q")).name == "bad-reply"


def test_an_illegal_value_of_a_header_that_does_not_pass_does_no_harm():
    assert answer(b"x", http_header_other="a\r\nb").status == 200


HOP_BY_HOP = ["connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-authenticate"]
NEVER = [*HOP_BY_HOP, "content-length", "set-cookie", "server", "date", "correlation-id", "server-timing"]


@pytest.mark.parametrize("name", NEVER)
def test_what_a_worker_may_never_set_does_not_pass(name):
    found = answer(b"x", **{f"http_header_{name.replace('-', '_')}": "1", name.replace("-", "_"): "1"})
    assert found.headers == [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"1")]


@pytest.mark.parametrize("name", NEVER)
def test_and_no_route_can_be_told_to_pass_it(name):
    with pytest.raises(ValueError, match=name):
        Route(name="r", path="/r", queue="r", pass_reply_headers=(name,))


@pytest.mark.parametrize(
    ("problem", "name", "ran"),
    [
        ("worker-failed", "worker-failed", "yes"),
        ("worker-lost", "worker-lost", "maybe"),
        ("poisoned", "poisoned", "maybe"),
        ("bad-reply", "bad-reply", "yes"),
        ("something-else", "worker-failed", "yes"),
        ("", "worker-failed", "yes"),
    ],
)
def test_the_sdks_word_that_there_is_no_answer(problem, name, ran):
    found = refusal(reply(b"a trace\nat org.example", problem=problem, http_status="200", content_type="text/plain"))
    assert (found.name, found.ran, found.row.status) == (name, ran, 502)
    assert "org.example" not in found.detail


def test_a_workers_own_502_stays_its_own():
    assert answer(b"mine", http_status="502").status == 502


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0", 0.0), ("1.5", 1.5), ("", None), ("x", None), ("-1", None), ("nan", None), ("inf", None), ("1e99", None)],
)
def test_a_duration_is_a_number_or_nothing(value, expected):
    found = answer(queue_ms=value, work_ms=value)
    assert (found.queue_ms, found.work_ms) == (expected, expected)


TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
NAMES = ["http_status", "content_type", "content-type", "http_header_etag", "http_header_x_a", "problem", "work_ms"]


@given(st.dictionaries(st.sampled_from(NAMES), TEXT, max_size=5), st.binary(max_size=110))
def test_any_reply_is_an_answer_that_http_can_say_or_a_502(headers, body):
    try:
        found = answer(body, **headers)
    except Problem as problem:
        status = problem.row.status
    else:
        status = 502
        assert 200 <= found.status <= 599
        assert {name for name, _ in found.headers} <= {
            b"content-type",
            b"content-length",
            b"etag",
            b"cache-control",
            b"x-a",
        }
        assert not any(byte in value for _, value in found.headers for byte in b"\r\n\0")
    assert status == 502


# -- of JMS clients, whose Map, Object and Stream messages look like an empty text

OF_JMS = {"message-id": "ID:host-45079-1795338476088-1:1:1:1:1"}


@pytest.mark.parametrize("headers", [{}, {"http_status": "201", "content_type": "application/json"}])
def test_an_empty_text_of_a_jms_client_is_a_bad_reply_that_says_what_to_send(headers):
    detail = bad(**OF_JMS, **headers)
    assert "Map, Object or Stream message" in detail
    assert "204" in detail
    assert "reply_kind" in detail


@pytest.mark.parametrize("headers", [{"reply_kind": "final"}, {"content-length": "0"}])
def test_an_empty_body_of_a_jms_client_that_says_so_is_one(headers):
    assert answer(**OF_JMS, **headers).body == b""


@pytest.mark.parametrize("status", ["204", "205", "304"])
def test_no_body_of_a_jms_client_is_none(status):
    assert answer(http_status=status, **OF_JMS).status == int(status)


def test_a_problem_of_a_jms_client_is_that_problem():
    assert refusal(reply(problem="worker-failed", **OF_JMS)).name == "worker-failed"
