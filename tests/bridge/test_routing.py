"""Which route a path is for. Paths are as they came: nothing is decoded but what means the same (RFC 3986, 6.2.2.2)."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.problems import Problem
from bridge.routing import Router, ServedRoute
from bridge.settings import Route


def served(name, path, *methods):
    return ServedRoute(Route(name=name, path=path, queue=name, methods=frozenset(methods or {"POST"})))


ROUTER = Router(
    [
        served("any-size", "/thumb/{size}"),
        served("large", "/thumb/large"),
        served("fit", "/thumb/{size}/{fit}", "PUT"),
        served("read", "/orders/{id}", "GET"),
        served("write", "/orders/{id}", "POST", "DELETE"),
        served("root", "/"),
        served("dots", "/a.b~c_d-e"),
    ]
)


def found(path, method="POST"):
    route, parameters = ROUTER.match(method, path.encode() if isinstance(path, str) else path)
    return route.settings.name, dict(parameters)


def refused(path, method="POST"):
    with pytest.raises(Problem) as caught:
        found(path, method)
    return caught.value


def test_a_literal_path_comes_before_parameters():
    assert found("/thumb/large") == ("large", {})
    assert found("/thumb/larger") == ("any-size", {"path_size": "larger"})


def test_parameters_have_the_names_of_the_template():
    assert found("/thumb/9x9/cover", "PUT") == ("fit", {"path_size": "9x9", "path_fit": "cover"})


def test_the_method_chooses_among_routes_of_one_path():
    assert found("/orders/7", "GET") == ("read", {"path_id": "7"})
    assert found("/orders/7", "DELETE") == ("write", {"path_id": "7"})


@pytest.mark.parametrize(
    ("path", "method", "allow"),
    [
        ("/thumb/large", "GET", b"POST"),
        ("/orders/7", "PATCH", b"DELETE, GET, POST"),
        ("/orders/7", "get", b"DELETE, GET, POST"),
        ("/thumb/1/2", "POST", b"PUT"),
        ("/", "OPTIONS", b"POST"),
    ],
)
def test_another_method_is_refused_and_told_which_are_allowed(path, method, allow):
    problem = refused(path, method)
    assert problem.name == "method-not-allowed"
    assert dict(problem.headers) == {b"allow": allow}


@pytest.mark.parametrize(
    "path",
    [
        "/thumb",
        "/thumb/",
        "/thumb/large/",
        "/thumb//cover",
        "//thumb/large",
        "/thumb/9x9/cover/",
        "/thumb/9x9/cover/more",
        "/Thumb/large",
        "/thumb/a%2fb",
        "/thumb/a%2Fb",
        "/thumb/a%00",
        "/thumb/a%0a",
        "/thumb/a,b",
        "/thumb/a%2cb",
        "/thumb/>",
        "/thumb/%3e",
        "/thumb/*",
        "/thumb/a b",
        "/thumb/a%20b",
        "/thumb/a.b",
        "/thumb/a~b",
        "/thumb/..",
        "/thumb/%2e%2e",
        "/thumb/../thumb/large",
        "/thumb/a;b=1",
        "/thumb/a?b",
        "/thumb/a%",
        "/thumb/a%6",
        "/thumb/a%zz",
        "/thumb/%ff",
        "/thumb/{size}",
        "/thumb/large\n",
        b"/thumb/\xc3\xa4",
        b"/thumb/\x00",
        "",
        "thumb/large",
        "*",
        "http://localhost/thumb/large",
    ],
)
def test_anything_else_is_no_route(path):
    assert refused(path).name == "no-route"


@pytest.mark.parametrize(("length", "is_route"), [(0, False), (1, True), (63, True), (64, True), (65, False)])
def test_a_parameter_has_1_to_64_characters(length, is_route):
    path = "/thumb/" + "x" * length
    if is_route:
        assert found(path) == ("any-size", {"path_size": "x" * length})
    else:
        assert refused(path).name == "no-route"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/thumb/l%61rge", ("large", {})),
        ("/%74%68%75%6D%62/%6c%61%72%67%65", ("large", {})),
        ("/thumb/%41%5A%61%7a%30%39%2D%5F", ("any-size", {"path_size": "AZaz09-_"})),
        ("/a%2Eb%7Ec%5fd%2de", ("dots", {})),
    ],
)
def test_an_escape_of_a_character_that_needs_none_means_that_character(path, expected):
    assert found(path) == expected


def test_an_escape_is_decoded_once_only():
    assert refused("/thumb/l%2561rge").name == "no-route"


def test_64_characters_count_after_decoding():
    assert found("/thumb/" + "%61" * 64) == ("any-size", {"path_size": "a" * 64})
    assert refused("/thumb/" + "%61" * 65).name == "no-route"


UNRESERVED = set(string.ascii_letters + string.digits + "-._~")


@given(st.integers(0, 255), st.booleans())
def test_exactly_the_unreserved_characters_are_decoded(code, upper):
    escape = f"%{code:02X}" if upper else f"%{code:02x}"
    if chr(code) in UNRESERVED - set(".~"):
        assert found(f"/thumb/{escape}") == ("any-size", {"path_size": chr(code)})
    else:
        assert refused(f"/thumb/{escape}").name == "no-route"


@given(st.binary(max_size=80))
def test_whatever_the_path_a_parameter_holds_only_what_a_destination_could(raw):
    try:
        route, parameters = ROUTER.match("POST", b"/thumb/" + raw)
    except Problem as problem:
        name, values = problem.name, []
    else:
        name, values = route.settings.name, [value for _, value in parameters]
    assert name in ("any-size", "large", "no-route", "method-not-allowed")
    for value in values:
        assert 1 <= len(value) <= 64
        assert set(value) <= set(string.ascii_letters + string.digits + "_-")
