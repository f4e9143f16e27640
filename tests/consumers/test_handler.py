"""Which argument a function gets, which functions are refused, and what a body that does not fit is answered with."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial, wraps
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import BaseModel, Field

from activemq import Clock, Frame, RequestMessage
from consumers import Reply, Request
from consumers.handler import make_call, make_handler
from consumers.reply import RefusedError

if TYPE_CHECKING:
    from nowhere import Unimportable


class Order(BaseModel):
    item: str
    count: int = 1


@dataclass
class Point:
    x: int
    y: int


def request_of(body: bytes = b"", **headers: str) -> Request:
    return Request(RequestMessage(Frame.of("MESSAGE", headers, body)), Clock())


async def given(function, body: bytes = b""):
    """What the function got for its argument, through make_handler."""
    with ThreadPoolExecutor(1) as executor:
        return await make_handler(function, executor)(request_of(body))


def seen(annotation):
    """A function whose argument has that annotation, and the list that it puts it into."""
    got = []

    def function(argument):
        got.append(argument)

    function.__annotations__["argument"] = annotation
    return function, got


@pytest.mark.parametrize(
    ("annotation", "body", "argument"),
    [
        (bytes, b"\xff\x00", b"\xff\x00"),
        (str, "grüß".encode(), "grüß"),
        (int, b"3", 3),
        (float, b"3.5", 3.5),
        (bool, b"true", True),
        (list[int], b"[1, 2]", [1, 2]),
        (dict[str, int], b'{"a": 1}', {"a": 1}),
        (dict, b'{"a": 1}', {"a": 1}),
        (Order, b'{"item": "tea"}', Order(item="tea")),
        (Order | None, b"null", None),
        (Point, b'{"x": 1, "y": 2}', Point(1, 2)),
        (Annotated[int, Field(gt=2)], b"3", 3),
        (None, b"null", None),
        ("Order", b'{"item": "tea"}', Order(item="tea")),
        ("list[Point]", b'[{"x": 1, "y": 2}]', [Point(1, 2)]),
    ],
    ids=str,
)
async def test_the_annotation_says_what_the_argument_is(annotation, body, argument):
    function, got = seen(annotation)
    await given(function, body)
    assert got == [argument]
    assert type(got[0]) is type(argument)


@pytest.mark.parametrize("annotation", [Request, Any, "Request"])
async def test_the_request_itself_for_its_own_annotation(annotation):
    function, got = seen(annotation)
    await given(function, b"body")
    assert isinstance(got[0], Request)
    assert got[0].body == b"body"


async def test_the_request_itself_without_an_annotation():
    assert await given(lambda request: request.body, b"body") == Reply(b"body")


class Object:
    def __init__(self, got):
        self.got = got

    def __call__(self, order: Order):
        self.got.append(order)

    def method(self, order: Order):
        self.got.append(order)

    async def asynchronous(self, order: Order):
        self.got.append(order)


class AsyncObject(Object):
    async def __call__(self, order: Order):
        self.got.append(order)


def decorated(function):
    @wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


@pytest.mark.parametrize(
    "make",
    [
        Object,
        AsyncObject,
        lambda got: Object(got).method,
        lambda got: Object(got).asynchronous,
        lambda got: partial(Object.method, Object(got)),
        lambda got: partial(Object.asynchronous, Object(got)),
        lambda got: decorated(Object(got).method),
    ],
    ids=["object", "async object", "method", "async method", "partial", "async partial", "decorated"],
)
async def test_every_kind_of_function_gets_what_its_annotation_says(make):
    got = []
    await given(make(got), b'{"item": "tea"}')
    assert got == [Order(item="tea")]


async def test_other_arguments_may_be_there_if_they_have_defaults():
    def function(order: Order, factor: int = 2, *rest: int, more: bool = False, **others: Unimportable) -> Unimportable:
        return order.count * factor

    assert (await given(function, b'{"item": "tea", "count": 3}')).body == b"6"


def none(): ...


def two(one, other): ...


def only_keyword(*, request): ...


def with_a_required_keyword(request, *, other): ...


def only_stars(*args, **kwargs): ...


async def several(request):
    yield 1


@pytest.mark.parametrize("function", [none, two, only_keyword, with_a_required_keyword, only_stars, several])
def test_a_function_of_another_shape_is_refused_by_its_name(function):
    with pytest.raises(TypeError, match=function.__name__), ThreadPoolExecutor(1) as executor:
        make_handler(function, executor)


def test_an_annotation_that_does_not_exist_at_run_time_is_refused_with_the_reason():
    def function(argument: Unimportable): ...

    with pytest.raises(TypeError, match=r"argument.*Unimportable.*TYPE_CHECKING"):
        make_call(function)


def test_a_type_that_json_cannot_be_made_into_is_refused_with_the_reason():
    def function(argument: ThreadPoolExecutor): ...

    with pytest.raises(TypeError, match=r"function.*'argument' cannot be read from JSON.*ThreadPoolExecutor"):
        make_call(function)


@pytest.mark.parametrize(
    ("annotation", "body", "pointers"),
    [
        (Order, b'{"count": "many"}', ["/item", "/count"]),
        (Order, b"not json", [""]),
        (Order, b"", [""]),
        (Order, b"\xff", [""]),
        (list[Order], b'[{"item": "a"}, {}]', ["/1/item"]),
        (dict[str, int], b'{"a/b~c": "x"}', ["/a~1b~0c"]),
        (str, b"ab\xff", [""]),
    ],
    ids=str,
)
async def test_a_body_that_does_not_fit_is_a_422_that_says_where_and_the_function_is_not_called(
    annotation, body, pointers
):
    function, got = seen(annotation)
    with pytest.raises(RefusedError) as raised:
        await given(function, body)
    reply = raised.value.reply
    document = json.loads(reply.body)
    assert not got
    assert (reply.status, reply.content_type) == (422, "application/problem+json")
    assert document["type"] == "/problems/invalid-body"
    assert document["ran"] == "no"
    assert [error["pointer"] for error in document["errors"]] == pointers
    assert all(error["message"] for error in document["errors"])


def test_a_call_without_a_loop_does_the_same_for_a_plain_function():
    call = make_call(lambda request: request.text().upper())
    assert call(request_of(b"x")) == Reply(b"X", content_type="text/plain; charset=utf-8")
