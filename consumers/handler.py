"""A function as a handler: its argument from the request, its result as a reply."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from consumers.reply import RefusedError, Reply
from consumers.request import Request

if TYPE_CHECKING:
    from concurrent.futures import Executor

Handler = Callable[[Request], Awaitable[Reply]]
Function = Callable[..., Any]


def make_handler(function: Function, executor: Executor) -> Handler:
    """Return the handler that a function stands for.

    The function takes one argument. Its annotation says what it gets: :class:`Request` (or nothing said) the request,
    ``bytes`` the body, ``str`` the body as text, anything else the body as JSON, validated by pydantic; a body that
    does not fit is answered with 422 and the function is not called. What it returns: :meth:`Reply.of`. A function
    that is not ``async`` runs in a thread of ``executor``. Raises TypeError for a function of another shape.
    """
    if not is_async(function):
        call = make_call(function)

        async def run(request: Request) -> Reply:
            request.interruptible = False
            here = copy_context()  # what is current here is current there: a span, for one
            return await asyncio.get_running_loop().run_in_executor(executor, here.run, call, request)

        return run

    argument = _argument(function)

    async def run_async(request: Request) -> Reply:
        return Reply.of(await function(argument(request)))

    return run_async


def make_call(function: Function) -> Callable[[Request], Reply]:
    """Return the same as a plain call, for a function that is not ``async``; raises TypeError as :func:`make_handler`.

    The call raises RefusedError for a body that does not fit.
    """
    argument = _argument(function)

    def call(request: Request) -> Reply:
        try:
            return Reply.of(function(argument(request)))
        # No future takes a StopIteration (before Python 3.12 its caller would wait for ever), and a KeyboardInterrupt
        # that is not in the main thread is no operator's.
        except (StopIteration, KeyboardInterrupt) as error:
            raise RuntimeError(f"the handler raised {type(error).__name__}") from error

    return call


def is_async(function: Function) -> bool:
    """Say whether what a function returns has to be awaited."""
    called = getattr(function, "__call__", None)  # noqa: B004 - an object whose __call__ is async
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def _argument(function: Function) -> Callable[[Request], Any]:
    parameter = _parameter(function)
    wanted = _annotation(function, parameter)
    if wanted is Request or wanted is Any:
        return lambda request: request
    if wanted is bytes:
        return lambda request: request.body
    if wanted is str:
        return _text
    try:
        return partial(_validated, TypeAdapter(wanted))
    except PydanticUserError as error:
        raise TypeError(f"{_name(function)}: {parameter.name!r} cannot be read from JSON: {error.message}") from error


def _parameter(function: Function) -> inspect.Parameter:
    """Return the one parameter that has no default."""
    required = [
        p
        for p in inspect.signature(function).parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if len(required) != 1 or required[0].kind is inspect.Parameter.KEYWORD_ONLY:
        raise TypeError(f"{_name(function)} must take one argument (a Request, bytes, str or a type for JSON)")
    if inspect.isasyncgenfunction(inspect.unwrap(function)):
        raise TypeError(f"{_name(function)} is an asynchronous generator: return one value, not several")
    return required[0]


def _annotation(function: Function, parameter: inspect.Parameter) -> Any:  # noqa: ANN401 - any type
    """Return what the parameter's annotation means, where the function was written; Request if it has none.

    Only this one is looked at: what stands at the others need not exist at run time.
    """
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return Request
    written = inspect.unwrap(function)
    while isinstance(written, partial):
        written = inspect.unwrap(written.func)
    if not inspect.isroutine(written):
        written = type(written).__call__
    try:
        hints = get_type_hints(
            SimpleNamespace(__annotations__={parameter.name: annotation}),
            getattr(written, "__globals__", {}),
            include_extras=True,
        )
    except NameError as error:
        raise TypeError(
            f"{_name(function)}: the annotation of {parameter.name!r} cannot be read ({error}); "
            "what it names must be at the top of its module, and not under TYPE_CHECKING"
        ) from error
    return hints[parameter.name]


def _name(function: Function) -> str:
    return f"handler {getattr(function, '__qualname__', repr(function))}"


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
        raise _invalid([{"pointer": _pointer(f["loc"]), "message": f["msg"]} for f in faults]) from None


def _pointer(parts: tuple[int | str, ...]) -> str:
    """Return a JSON Pointer (RFC 6901, 3)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _invalid(errors: list[dict[str, str]]) -> RefusedError:
    detail = "the body is not what this worker takes"
    return RefusedError(Reply.problem(422, detail, ran="no", type="/problems/invalid-body", errors=errors))
