"""A request as a message: only what a route names, only what the connection that all calls share survives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activemq.frames import Frame
from activemq.message import MAX_PROPERTY, RequestEncoder, property_size
from activemq.parser import Parser
from bridge import translate
from bridge.problems import Problem
from bridge.translate import read_head

PASSES = {b"x-a": "http_header_x_a", b"accept-language": "http_header_accept_language"}
PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NEW_ID = "0123456789abcdef" * 2


def properties_of(*headers, passes=PASSES, target="/r", method="POST", parameters=()):
    return translate.properties_of(read_head(headers, passes), target, method, parameters)


def refusal(function, *arguments, **options):
    with pytest.raises(Problem) as caught:
        function(*arguments, **options)
    return caught.value


# -- the target


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        (b"/a", b"", "/a"),
        (b"/a", b"b=c&d", "/a?b=c&d"),
        (b"/%00%2F", b"%20?", "/%00%2F?%20?"),
        (b"/a:b", b":", "/a:b?:"),
    ],
)
def test_the_target_is_path_and_query_as_they_came(path, query, target):
    assert translate.target_of(path, query) == target


@pytest.mark.parametrize(
    ("length", "fits"), [(MAX_PROPERTY - 1, True), (MAX_PROPERTY, True), (MAX_PROPERTY + 1, False)]
)
@pytest.mark.parametrize("filling", [b"a", b":", b"\\"])
def test_a_target_has_8_kib_once_escaped(length, fits, filling):
    width = property_size(filling.decode())
    head = b"/a" if (length - 2) % width == 0 else b"/"
    path = head + filling * ((length - len(head)) // width)
    assert property_size(path.decode()) == length
    if fits:
        assert translate.target_of(path, b"") == path.decode()
    else:
        problem = refusal(translate.target_of, path, b"")
        assert (problem.name, problem.extra) == ("uri-too-long", {"limit_bytes": MAX_PROPERTY})


def test_the_question_mark_counts():
    assert len(translate.target_of(b"/a", b"b" * (MAX_PROPERTY - 3))) == MAX_PROPERTY
    assert refusal(translate.target_of, b"/a", b"b" * (MAX_PROPERTY - 2)).name == "uri-too-long"


@pytest.mark.parametrize("raw", [b"/a b", b"/\x00", b"/\n", b"/\x7f", b"/\xc3\xa4", b"/\xff"])
@pytest.mark.parametrize("in_query", [False, True])
def test_bytes_that_must_be_escaped_are_refused(raw, in_query):
    arguments = (b"/r", raw) if in_query else (raw, b"")
    assert refusal(translate.target_of, *arguments).extra == {"field": "target"}


# -- properties


def test_method_target_type_and_parameters_are_properties():
    found = properties_of((b"content-type", b"text/plain"), target="/r/1", method="PUT", parameters=[("path_id", "1")])
    assert found == [("http_method", "PUT"), ("http_target", "/r/1"), ("content_type", "text/plain"), ("path_id", "1")]


def test_repeated_headers_are_joined_and_each_has_its_property():
    found = properties_of((b"x-a", b"1"), (b"accept-language", b"de"), (b"x-a", b"2, 3"), (b"x-b", b"no"))
    assert found[2:] == [("http_header_x_a", "1, 2, 3"), ("http_header_accept_language", "de")]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("käse".encode(), "käse"),
        ("käse".encode("latin-1"), "käse"),
        ("😀".encode(), "😀"),
        (b"", ""),
        (b"a\tb", "a\tb"),
    ],
)
def test_a_value_is_utf_8_or_else_latin_1(raw, text):
    assert properties_of((b"x-a", raw))[2:] == [("http_header_x_a", text)]
    assert ("content_type", text) in properties_of((b"content-type", raw))


@pytest.mark.parametrize("control", [*range(9), *range(10, 32), 127])
def test_a_control_character_is_refused_naming_the_header(control):
    raw = b"a" + bytes([control]) + b"b"
    assert refusal(properties_of, (b"x-a", raw)).extra == {"field": "x-a"}
    assert refusal(properties_of, (b"content-type", raw)).extra == {"field": "content-type"}


VALUES = [("a", 1), (":", 2), ("\\", 2), ("ä", 2), ("€", 3), ("😀", 4)]


@pytest.mark.parametrize(
    ("length", "fits"), [(MAX_PROPERTY - 1, True), (MAX_PROPERTY, True), (MAX_PROPERTY + 1, False)]
)
@pytest.mark.parametrize(("character", "width"), VALUES)
def test_a_header_has_8_kib_once_escaped(length, fits, character, width):
    value = "a" * (length % width) + character * (length // width)
    assert property_size(value) == length
    raw = value.encode()
    if fits:
        assert properties_of((b"x-a", raw))[2:] == [("http_header_x_a", value)]
        assert ("content_type", value) in properties_of((b"content-type", raw))
    else:
        for name in (b"x-a", b"content-type"):
            problem = refusal(properties_of, (name, raw))
            assert (problem.name, problem.extra) == ("headers-too-large", {"limit_bytes": MAX_PROPERTY})


@pytest.mark.parametrize(("last", "fits"), [(MAX_PROPERTY // 2 - 2, True), (MAX_PROPERTY // 2 - 1, False)])
def test_repeated_headers_have_8_kib_together(last, fits):
    headers = [(b"x-a", b"a" * (MAX_PROPERTY // 2)), (b"x-a", b"b" * last)]
    if fits:
        assert len(properties_of(*headers)[2][1]) == MAX_PROPERTY
    else:
        assert refusal(properties_of, *headers).name == "headers-too-large"


def test_what_is_not_passed_may_be_long():
    assert properties_of((b"x-b", b"a" * 60_000)) == [("http_method", "POST"), ("http_target", "/r")]


# -- traces


def trace_of(*headers):
    return translate.trace_of(read_head(headers, {}), NEW_ID)


def test_without_a_trace_a_new_one_begins():
    assert trace_of() == [("traceparent", f"00-{NEW_ID}-{NEW_ID[16:]}-01")]


@pytest.mark.parametrize(
    "parent",
    [PARENT, PARENT[:-2] + b"00", b"01" + PARENT[2:], b"cc" + PARENT[2:] + b"-more-of-it", b"01" + PARENT[2:] + b"-"],
)
def test_a_trace_goes_on_as_it_came(parent):
    assert trace_of((b"traceparent", parent), (b"tracestate", b"a=1")) == [
        ("traceparent", parent.decode()),
        ("tracestate", "a=1"),
    ]


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        PARENT[:-1],
        PARENT + b"0",
        PARENT + b"-more",
        PARENT + b"\n",
        PARENT.upper(),
        b"ff" + PARENT[2:],
        b"00-" + b"0" * 32 + PARENT[35:],
        PARENT[:36] + b"0" * 16 + b"-01",
        PARENT.replace(b"-", b"_"),
        b" " + PARENT,
        b"01" + PARENT[2:] + b"x",
        b"01" + PARENT[2:] + b"-a b",
        b"01" + PARENT[2:] + b"-\x00",
        b"01" + PARENT[2:] + b"-\xff",
        b"01" + PARENT[2:] + b"-" + b"x" * 20_000,
        PARENT + b", " + PARENT,
    ],
)
def test_a_malformed_trace_is_a_new_one_and_loses_its_state(parent):
    assert trace_of((b"traceparent", parent), (b"tracestate", b"a=1")) == trace_of()


def test_two_traceparents_are_malformed():
    assert trace_of((b"traceparent", PARENT), (b"traceparent", PARENT)) == trace_of()


def test_a_tracestate_is_bounded_and_checked_like_any_header():
    def state(value):
        return ((b"traceparent", PARENT), (b"tracestate", value))

    assert trace_of(*state(b"a" * MAX_PROPERTY))[1] == ("tracestate", "a" * MAX_PROPERTY)
    assert refusal(trace_of, *state(b"a" * (MAX_PROPERTY + 1))).name == "headers-too-large"
    assert refusal(trace_of, *state(b"a\x01")).extra == {"field": "tracestate"}


# -- the kind of message


def as_text(content_type, body, message="auto"):
    headers = [] if content_type is None else [(b"content-type", content_type)]
    return translate.as_text(message, read_head(headers, {}), body)


@pytest.mark.parametrize(
    "content_type",
    [
        b"text/plain",
        b"TEXT/CSV",
        b"text/html; charset=utf-8",
        b'text/html; charset="UTF-8"; x=y',
        b"text/html;charset=us-ascii",
        b"application/json",
        b"application/problem+json",
        b"application/xml",
        b"image/svg+xml",
        b"application/x-www-form-urlencoded",
    ],
)
@pytest.mark.parametrize(
    ("body", "fits"),
    [(b"", True), (b"abc", True), ("käse 😀".encode(), True), (b"\xff", False), (b"\xc3", False), (b"a\0", False)],
)
def test_a_textual_type_is_text_if_a_text_message_can_hold_the_body(content_type, body, fits):
    assert as_text(content_type, body) == fits
    assert as_text(content_type, body, "text") == fits
    assert not as_text(content_type, body, "bytes")


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        b"",
        b"text",
        b"application/octet-stream",
        b"application/jsonp",
        b"image/png",
        b"multipart/form-data; boundary=json",
        b"multipart/x+json",
        b"text/plain; charset=iso-8859-1",
        b"application/json; charset=utf-16",
        b"\xff",
    ],
)
def test_any_other_type_is_bytes_unless_the_route_says_text(content_type):
    assert not as_text(content_type, b"abc")
    assert as_text(content_type, b"abc", "text")
    assert not as_text(content_type, b"a\0", "text")
    assert not as_text(content_type, b"abc", "bytes")


# -- all of it together, as a frame


HEADER_NAMES = [
    "x-a",
    "accept-language",
    "content-type",
    "traceparent",
    "tracestate",
    "reply-to",
    "receipt",
    "priority",
]


@given(
    headers=st.lists(st.tuples(st.sampled_from(HEADER_NAMES).map(str.encode), st.binary(max_size=30)), max_size=8),
    body=st.binary(max_size=50),
)
def test_whatever_a_caller_sends_one_frame_leaves_and_it_says_what_was_meant(headers, body):
    try:
        head = read_head(headers, PASSES)
        properties = translate.properties_of(head, "/r", "POST", [("path_id", "1")])
        properties += translate.trace_of(head, NEW_ID)
    except Problem as problem:
        refused = problem.row.status
        assert refused in (400, 431)
        return
    text = translate.as_text("auto", head, body)
    encoder = RequestEncoder(destination="/queue/r", reply_to="/temp-queue/replies", route="r")
    data = encoder.encode("c" * 32, ("expires", "1"), 1, 1, 4, properties, body, text=text)
    (frame,) = Parser(commands=frozenset({"SEND"})).feed(data)
    assert frame.body == body
    known = {"destination", "reply-to", "type", "correlation-id", "receipt", "expires", "priority", "deadline_ms"}
    known |= {"budget_ms", *dict(properties)} | (set() if text else {"content-length"})
    assert set(frame.headers) == known
    assert frame.get("reply-to") == "/temp-queue/replies"
    assert frame.get("receipt") == "c" * 32
    assert frame.get("destination") == "/queue/r"
    assert {name: frame.get(name) for name in dict(properties)} == dict(properties)
    assert isinstance(frame, Frame)
