"""A function as a handler: its argument from the request, its result as a reply."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from consumers.reply import Reply
from consumers.request import Request

if TYPE_CHECKING:
    from concurrent.futures import Executor

Handler = Callable[[Request], Awaitable[Reply]]
Function = Callable[..., Any]


class InvalidBodyError(Exception):
    """The body is not what the handler's annotation asks for: the caller's fault, not the worker's."""

    def __init__(self, reply: Reply) -> None:
        super().__init__("the body does not fit the handler's argument")
        self.reply = reply


def make_handler(function: Function, executor: Executor) -> Handler:
    """Return the handler that a function stands for.

    The function takes one argument. Its annotation says what it gets: :class:`Request` (or nothing said) the request,
    ``bytes`` the body, ``str`` the body as text, anything else the body as JSON, validated by pydantic; a body that
    does not fit is answered with 422 and the function is not called. What it returns: :meth:`Reply.of`. A function
    that is not ``async`` runs in a thread of ``executor``. Raises TypeError for a function of another shape.
    """
    argument = _argument(function)
    if _is_async(function):

        async def run(request: Request) -> Reply:
            return Reply.of(await function(argument(request)))

    else:

        async def run(request: Request) -> Reply:
            call = partial(_call, function, argument, request)
            return await asyncio.get_running_loop().run_in_executor(executor, call)

    return run


def _call(function: Function, argument: Callable[[Request], Any], request: Request) -> Reply:
    return Reply.of(function(argument(request)))


def _is_async(function: Function) -> bool:
    called = getattr(function, "__call__", None)  # noqa: B004 - an object whose __call__ is async
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def _argument(function: Function) -> Callable[[Request], Any]:
    parameters = list(inspect.signature(function).parameters.values())
    required = [
        p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if len(required) != 1:
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(f"handler {name} must take one argument (a Request, bytes, str or a type for JSON)")
    hints = get_type_hints(function if inspect.isroutine(function) else type(function).__call__)
    wanted = hints.get(required[0].name, Request)
    if wanted is Request or wanted is Any:
        return lambda request: request
    if wanted is bytes:
        return lambda request: request.body
    if wanted is str:
        return _text
    return partial(_validated, TypeAdapter(wanted))


def _text(request: Request) -> str:
    try:
        return request.text()
    except UnicodeDecodeError as error:
        raise _invalid([{"pointer": "", "message": f"not UTF-8: {error.reason}"}]) from None


def _validated(adapter: TypeAdapter[Any], request: Request) -> Any:  # noqa: ANN401 - what the annotation says
    try:
        return adapter.validate_json(request.body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise _invalid(
            [{"pointer": "".join(f"/{part}" for part in f["loc"]), "message": f["msg"]} for f in faults]
        ) from None


def _invalid(errors: list[dict[str, str]]) -> InvalidBodyError:
    document = {"type": "/problems/invalid-body", "title": "The body is not valid", "status": 422, "errors": errors}
    reply = Reply.json(document, 422)
    return InvalidBodyError(Reply(reply.body, 422, "application/problem+json"))
