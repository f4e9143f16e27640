"""What the bridge reads of a request's head: framing, who asks, preferences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import translate
from bridge.problems import Problem
from bridge.routing import ServedRoute
from bridge.settings import Route
from bridge.translate import Preferences, preferences, priority_of, read_head


def a_route(**options):
    return ServedRoute(Route(**{"name": "r", "path": "/r", "queue": "r", **options}))


def head_of(*headers, passes=None):
    return read_head([(name.encode(), value.encode("latin-1")) for name, value in headers], passes or {})


def refusal(function, *arguments, **options):
    with pytest.raises(Problem) as caught:
        function(*arguments, **options)
    return caught.value


# -- framing


@pytest.mark.parametrize(("value", "length"), [("0", 0), ("1", 1), ("007", 7), ("9" * 18, 10**18 - 1)])
def test_a_content_length_is_a_number(value, length):
    assert head_of(("content-length", value)).content_length == length


@pytest.mark.parametrize(
    "value", ["", " ", "-1", "+1", "1.0", "0x10", "1 ", "1,1", "1, 2", "abc", "9" * 19, "\u0661", "1_0"]
)
def test_anything_else_as_a_content_length_is_refused(value):
    headers = [(b"content-length", value.encode())]
    problem = refusal(read_head, headers, {})
    assert (problem.name, problem.extra) == ("invalid-request", {"field": "content-length"})


@pytest.mark.parametrize("second", ["5", "6"])
def test_two_content_lengths_are_refused_also_if_they_agree(second):
    problem = refusal(head_of, ("content-length", "5"), ("content-length", second))
    assert problem.extra == {"field": "content-length"}


@pytest.mark.parametrize("coding", ["chunked", "Chunked"])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_length_beside_a_transfer_encoding_is_refused_in_either_order(coding, swapped):
    headers = [("content-length", "5"), ("transfer-encoding", coding)]
    assert refusal(head_of, *(headers[::-1] if swapped else headers)).extra == {"field": "content-length"}


@pytest.mark.parametrize("coding", ["gzip, chunked", "gzip", "identity", "chunked, chunked", ""])
def test_a_transfer_encoding_that_would_stay_on_the_body_is_refused(coding):
    assert head_of(("transfer-encoding", "chunked")).chunked
    assert refusal(head_of, ("transfer-encoding", coding)).extra == {"field": "transfer-encoding"}


def test_two_transfer_encodings_are_refused():
    headers = [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]
    assert refusal(head_of, *headers).extra == {"field": "transfer-encoding"}


@pytest.mark.parametrize("body", [("content-length", "1"), ("transfer-encoding", "chunked")])
@pytest.mark.parametrize("swapped", [False, True])
def test_another_protocol_cannot_be_asked_for_with_a_body(body, swapped):
    headers = [("upgrade", "h2c"), body]
    assert refusal(head_of, *(headers[::-1] if swapped else headers)).extra == {"field": "upgrade"}
    head_of(("upgrade", "h2c"), ("content-length", "0"))
    head_of(("upgrade", "h2c"))


@pytest.mark.parametrize("name", ["host", "content-type", "idempotency-key"])
def test_what_may_stand_once_is_refused_twice(name):
    problem = refusal(head_of, (name, "localhost"), (name, "localhost"))
    assert (problem.name, problem.extra) == ("invalid-request", {"field": name})


@pytest.mark.parametrize("name", ["priority", "tracestate", "content-encoding"])
def test_what_is_a_list_is_joined(name):
    head = head_of((name, "a"), ("x-other", "-"), (name, "b"))
    assert getattr(head, name.replace("-", "_")) == b"a, b"


def test_a_header_that_nobody_asked_for_is_not_kept():
    head = head_of(("x-a", "1"), ("reply-to", "/queue/other"), ("jmsxgroupid", "g"), passes={b"x-b": "http_header_x_b"})
    assert head.passed == []


# -- the open bridge


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8080", "LOCALHOST", "a.localhost:1", "127.0.0.1", "127.9.9.9:80", "[::1]", "[::1]:8080"],
)
def test_an_open_bridge_answers_to_its_own_machine(host):
    translate.check_open_bridge(head_of(("host", host)))


def test_an_open_bridge_answers_where_there_is_no_host():
    translate.check_open_bridge(head_of())


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "localhost.example.com",
        "127.0.0.1.example.com",
        "notlocalhost",
        "10.0.0.1",
        "0.0.0.0",
        "[::]",
        "[2001:db8::1]:80",
        "::1",
        "2130706433",
        "",
        ":80",
        "loc\xe4lhost",
    ],
)
def test_an_open_bridge_refuses_another_host(host):
    problem = refusal(translate.check_open_bridge, head_of(("host", host)))
    assert (problem.name, problem.row.status) == ("forbidden", 403)


@pytest.mark.parametrize(
    "name", ["forwarded", "via", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-anything"]
)
def test_an_open_bridge_refuses_what_came_through_a_proxy(name):
    assert refusal(translate.check_open_bridge, head_of(("host", "localhost"), (name, ""))).name == "forbidden"


@pytest.mark.parametrize("name", ["x-forwarded", "x-via", "x-real-ip"])
def test_other_names_do_not_make_a_proxy(name):
    translate.check_open_bridge(head_of(("host", "localhost"), (name, "1")))


# -- Prefer


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["wait=5"], Preferences(5)),
        (["WAIT=5"], Preferences(5)),
        (["wait = 5"], Preferences(5)),
        (['wait="5"'], Preferences(5)),
        (["wait=007"], Preferences(7)),
        (["wait=999999999"], Preferences(999_999_999)),
        (["wait=5; foo=bar"], Preferences(5)),
        (["respond-async"], Preferences(None, respond_async=True)),
        (["Respond-Async"], Preferences(None, respond_async=True)),
        (["respond-async; x=1"], Preferences(None, respond_async=True)),
        (["respond-async, wait=5"], Preferences(5, respond_async=True)),
        (["wait=5", "respond-async"], Preferences(5, respond_async=True)),
        (["wait=5, respond-async, handling=lenient"], Preferences(5, respond_async=True)),
        # the first of duplicates
        (["wait=5, wait=6"], Preferences(5)),
        (["wait=5", "wait=6"], Preferences(5)),
        (["wait=x, wait=6"], Preferences(None)),
        # 0 or malformed: ignored
        (["wait=0"], Preferences(None)),
        (["wait=000"], Preferences(None)),
        (["wait"], Preferences(None)),
        (["wait="], Preferences(None)),
        (["wait=-1"], Preferences(None)),
        (["wait=1.5"], Preferences(None)),
        (["wait=1e3"], Preferences(None)),
        (["wait=5s"], Preferences(None)),
        (["wait=\xb2"], Preferences(None)),
        (['wait="5'], Preferences(None)),
        (["wait=1234567890"], Preferences(None)),
        (["respond-async=1"], Preferences(None)),
        (["waiting=5"], Preferences(None)),
        ([""], Preferences(None)),
        ([",,;,=,"], Preferences(None)),
        # a comma within quotes belongs to the value
        (['x="a, wait=3, b", wait=5'], Preferences(5)),
        (['x="a\\", wait=3", wait=5'], Preferences(5)),
        (['x="respond-async, respond-async"'], Preferences(None)),
        (['wait=5, x="open, respond-async'], Preferences(5)),
    ],
)
def test_preferences(values, expected):
    assert preferences([value.encode("latin-1") for value in values]) == expected


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_no_prefer_header_is_an_error(values):
    found = preferences(values)
    assert found.wait is None or 0 < found.wait < 10**9


@given(st.text(alphabet='",\\ wait=0123456789;xresp-async', max_size=400))
def test_any_prefer_header_is_read_in_reasonable_time(value):
    preferences([value.encode()])


# -- Priority


@pytest.mark.parametrize(
    ("value", "priority"),
    [
        *((f"u={urgency}", priority) for urgency, priority in enumerate([9, 7, 6, 4, 3, 2, 1, 0])),
        ("u=0, i", 9),
        ("i, u=0", 9),
        ("i,u=0", 9),
        ("u=0;x=1, i", 9),
        ("u=7, u=0", 9),  # the last counts (RFC 8941, 3.2)
        ("i", 4),
        ("u=8", 4),
        ("u=-1", 4),
        ("u=00", 4),
        ("u=0.5", 4),
        ("u = 0", 4),
        ("U=0", 4),
        ("xu=0", 4),
        ("u", 4),
        ('"u=0"', 4),
        ("", 4),
        ("\xff", 4),
    ],
)
def test_priority(value, priority):
    assert priority_of(value.encode("latin-1"), 9) == priority


def test_no_priority_header_is_the_middle():
    assert priority_of(None, 9) == 4


@pytest.mark.parametrize(("ceiling", "urgent", "absent"), [(9, 9, 4), (5, 5, 4), (4, 4, 4), (2, 2, 2), (0, 0, 0)])
def test_a_route_has_a_ceiling(ceiling, urgent, absent):
    assert priority_of(b"u=0", ceiling) == urgent
    assert priority_of(None, ceiling) == absent


@given(st.binary(max_size=60), st.integers(0, 9))
def test_whatever_the_header_the_priority_is_a_legal_one(value, ceiling):
    assert 0 <= priority_of(value, ceiling) <= ceiling


# -- jobs and keys


KEYS = ["k", "a" * 255, '"k"', '"' + "a" * 255 + '"', "!#$%&'()*+,-./:;<=>?@[]^_`{|}~"]
NO_KEYS = ["", '"', '""', "a" * 256, '"' + "a" * 256 + '"', "a b", 'a"b', '"a', 'a"', "a\\b", "ä", "a\tb", '"a""b"']


@pytest.mark.parametrize("rule", ["optional", "required"])
@pytest.mark.parametrize("key", KEYS)
def test_a_key(key, rule):
    translate.check_idempotency_key(head_of(("idempotency-key", key)), a_route(idempotency=rule))


@pytest.mark.parametrize("rule", ["optional", "required"])
@pytest.mark.parametrize("key", NO_KEYS)
def test_a_malformed_key_is_refused(key, rule):
    head = head_of(("idempotency-key", key))
    problem = refusal(translate.check_idempotency_key, head, a_route(idempotency=rule))
    assert (problem.name, problem.extra) == ("invalid-request", {"field": "idempotency-key"})


def test_a_missing_key_is_refused_where_it_is_required():
    translate.check_idempotency_key(head_of(), a_route(idempotency="optional"))
    problem = refusal(translate.check_idempotency_key, head_of(), a_route(idempotency="required"))
    assert problem.extra == {"field": "idempotency-key"}


@pytest.mark.parametrize("key", KEYS + NO_KEYS)
def test_a_route_without_keys_does_not_look_at_them(key):
    head, route = head_of(("idempotency-key", key)), a_route(idempotency="off")
    translate.check_idempotency_key(head, route)
    assert not translate.is_job(head, route, Preferences())


@pytest.mark.parametrize(
    ("asynchronous", "prefers", "key", "is_job"),
    [
        ("never", False, None, False),
        ("never", True, None, False),
        ("never", False, "k", True),
        ("allowed", False, None, False),
        ("allowed", True, None, True),
        ("allowed", False, "k", True),
        ("always", False, None, True),
    ],
)
def test_what_is_a_job(asynchronous, prefers, key, is_job):
    head = head_of(*([("idempotency-key", key)] if key else []))
    found = translate.is_job(head, a_route(async_=asynchronous), Preferences(None, respond_async=prefers))
    assert found == is_job


# -- media types


@pytest.mark.parametrize("content_type", ["image/png", "IMAGE/PNG", "image/png; q=1", " image/png ;x", "image/jpeg"])
def test_a_media_type_that_the_route_accepts(content_type):
    route = a_route(accepts=("image/png", "image/jpeg"))
    translate.check_media_type(head_of(("content-type", content_type)), route)


@pytest.mark.parametrize("content_type", ["image/gif", "image/*", "*/*", "image/png2", "", "image/p\xffng", None])
def test_any_other_is_refused_and_told_which_are(content_type):
    head = head_of() if content_type is None else head_of(("content-type", content_type))
    problem = refusal(translate.check_media_type, head, a_route(accepts=("image/png", "image/jpeg")))
    assert (problem.name, problem.extra) == ("unsupported-media-type", {"accepts": ["image/png", "image/jpeg"]})


def test_a_route_that_names_no_media_type_accepts_all():
    translate.check_media_type(head_of(("content-type", "x/y")), a_route())
    translate.check_media_type(head_of(), a_route())


@pytest.mark.parametrize("coding", ["gzip", "identity", ""])
def test_an_encoded_body_is_refused_unless_the_route_passes_the_header(coding):
    head = head_of(("content-encoding", coding))
    problem = refusal(translate.check_media_type, head, a_route())
    assert (problem.name, problem.extra) == ("unsupported-media-type", {"accepts": []})
    translate.check_media_type(head, a_route(pass_headers=("content-encoding",)))


# -- anything


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=40)), max_size=10))
def test_any_headers_are_read_or_refused_with_a_400(headers):
    try:
        read_head(headers, {})
    except Problem as problem:
        name = problem.name
    else:
        name = "invalid-request"
    assert name == "invalid-request"


@pytest.mark.parametrize(
    "header",
    [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://evil.example"),
        ("origin", "https://localhost.evil.example"),
        ("origin", "null"),
        ("host", "[::1].evil.example"),
    ],
)
def test_an_open_bridge_takes_nothing_from_other_sites_pages(header):
    host = () if header[0] == "host" else (("host", "localhost:8080"),)
    assert refusal(translate.check_open_bridge, head_of(*host, header)).name == "forbidden"


@pytest.mark.parametrize(
    "header",
    [
        ("origin", "http://localhost:3000"),
        ("origin", "http://127.0.0.1"),
        ("origin", "http://[::1]:8080"),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-site", "none"),
    ],
)
def test_an_open_bridge_takes_what_pages_of_its_own_machine_send(header):
    translate.check_open_bridge(head_of(("host", "localhost:8080"), header))
