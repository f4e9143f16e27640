"""An ASGI app as a worker: what it sees of a message, and what becomes of its response."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from activemq import Clock, Frame, RequestMessage
from consumers import Reply, Request
from consumers.adapters.asgi import LifespanError, asgi_handler, asgi_worker
from consumers.reply import BadReplyError, RefusedError
from tests.consumers.harness import PATIENCE, Requester, new_client, running, until

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def request_of(body: bytes = b"", **headers: str) -> Request:
    named = {"correlation-id": "c1"} | {name.replace("_id", "-id"): value for name, value in headers.items()}
    return Request(RequestMessage(Frame.of("MESSAGE", named, body)), Clock())


async def scope_of(body: bytes = b"", host: str = "localhost", **headers: str):
    """What an app sees."""
    seen = {}

    async def app(scope, receive, send):
        seen.update(scope)
        await respond(send)

    await asgi_handler(app, host=host)(request_of(body, **headers))
    return seen


async def respond(send, status=200, headers=(), *chunks):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body"})


async def answer(*arguments):
    """The reply to an app that responds with these."""

    async def app(scope, receive, send):
        await respond(send, *arguments)

    return await asgi_handler(app)(request_of())


# -- the request


async def test_the_scope_of_a_call():
    scope = await scope_of(
        b"body",
        http_method="PUT",
        http_target="/a%20b/%C3%BC%2Fc//d?x=%201&y",
        content_type="text/plain",
        http_header_accept_language="de",
        http_header_x_shop="grüß",
        traceparent=TRACE,
        tracestate="v=1",
    )
    assert scope["type"] == "http"
    assert scope["method"] == "PUT"
    assert scope["path"] == "/a b/ü/c//d"
    assert scope["raw_path"] == b"/a%20b/%C3%BC%2Fc//d"
    assert scope["query_string"] == b"x=%201&y"
    assert scope["root_path"] == ""
    assert sorted(scope["headers"]) == [
        (b"accept-language", b"de"),
        (b"content-length", b"4"),
        (b"content-type", b"text/plain"),
        (b"correlation-id", b"c1"),
        (b"host", b"localhost"),
        (b"traceparent", TRACE.encode()),
        (b"tracestate", b"v=1"),
        (b"x-shop", "grüß".encode()),
    ]


async def test_the_scope_of_a_message_that_is_no_http_call():
    scope = await scope_of()
    assert (scope["method"], scope["path"], scope["query_string"]) == ("POST", "/", b"")
    assert dict(scope["headers"]) == {b"host": b"localhost", b"content-length": b"0", b"correlation-id": b"c1"}


async def test_what_only_a_message_has_is_in_an_extension():
    deadline = str(Clock().now_ms() + 10_000)
    scope = await scope_of(attempt="2", type="orders", caller="shop", path_size="8", deadline_ms=deadline)
    told = scope["extensions"]["activemq"]
    assert 9 < told.pop("remaining") <= 10
    assert told == {
        "correlation_id": "c1",
        "attempt": 2,
        "route": "orders",
        "caller": "shop",
        "path_parameters": {"size": "8"},
    }


async def test_a_host_of_your_own_or_the_callers_if_the_route_passes_it():
    assert (b"host", b"shop.example") in (await scope_of(host="shop.example"))["headers"]
    assert (b"host", b"caller.example") in (await scope_of(http_header_host="caller.example"))["headers"]


@pytest.mark.parametrize(
    "name",
    ["content_length", "transfer_encoding", "connection", "te", "upgrade", "expect", "content_type", "traceparent"],
)
async def test_a_message_cannot_contradict_what_is_said_of_its_body_and_connection(name):
    headers = (await scope_of(b"x", **{f"http_header_{name}": "999"}))["headers"]
    assert b"999" not in [value for _, value in headers]


@pytest.mark.parametrize(
    "headers",
    [
        {"http_target": "http://evil.example/"},
        {"http_target": "x"},
        {"http_target": "*"},
        {"http_target": "/a b"},
        {"http_target": "/ü"},
        {"http_target": "/a#b"},
        {"http_target": "/a\r\nx: y"},
        {"http_method": "GE T"},
        {"http_method": "get"},
        {"http_method": "GET\r\n"},
        {"http_method": "X" * 33},
        {"http_header_x": "a\r\nb: c"},
        {"content_type": "a\nb"},
        {"correlation_id": "a\nb"},
    ],
    ids=str,
)
async def test_what_cannot_be_an_http_request_is_refused_with_a_400(headers):
    with pytest.raises(RefusedError) as raised:
        await scope_of(**headers)
    assert raised.value.reply.status == 400
    assert b'"ran":"no"' in raised.value.reply.body


async def test_the_body_comes_once_and_whole():
    events = []

    async def app(scope, receive, send):
        events.append(await receive())
        await respond(send)

    await asgi_handler(app)(request_of(b"body"))
    assert events == [{"type": "http.request", "body": b"body", "more_body": False}]


async def test_a_disconnect_comes_when_the_response_is_whole():
    events = []

    async def app(scope, receive, send):
        await receive()
        waiting = asyncio.create_task(receive())
        await asyncio.sleep(0)
        assert not waiting.done()
        await respond(send)
        events.append(await waiting)

    await asgi_handler(app)(request_of())
    assert events == [{"type": "http.disconnect"}]


async def test_a_disconnect_comes_at_the_deadline():
    events = []

    async def app(scope, receive, send):
        await receive()
        events.append(await receive())
        await respond(send)

    async with asyncio.timeout(PATIENCE):
        await asgi_handler(app)(request_of(deadline_ms=str(Clock().now_ms() + 50)))
    assert events == [{"type": "http.disconnect"}]


# -- the response


async def test_the_response_is_the_reply():
    headers = [
        (b"Content-Type", b"image/png"),
        (b"content-length", b"4"),
        (b"ETag", b'"1"'),
        (b"vary", b"accept"),
        (b"vary", b"accept-language"),
    ]
    reply = await answer(201, headers, b"bo", b"dy")
    assert reply == Reply(b"body", 201, "image/png", {"etag": '"1"', "vary": "accept, accept-language"})


async def test_a_response_without_a_type_has_none():
    assert await answer(204) == Reply(b"", 204, None)


@pytest.mark.parametrize(
    "header",
    [
        (b"set-cookie", b"a=b"),
        (b"Set-Cookie", b"a=b"),
        (b"connection", b"close"),
        (b"keep-alive", b"1"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"h2c"),
        (b"trailer", b"x"),
        (b"te", b"trailers"),
        (b"proxy-authenticate", b"Basic"),
        (b"x_underscore", b"1"),
        (b"x-long", b"x" * 8193),
    ],
    ids=lambda header: header[0].decode(),
)
async def test_cookies_and_what_belongs_to_a_connection_are_dropped(header):
    assert (await answer(200, [header, (b"etag", b"1")])).headers == {"etag": "1"}


async def test_what_connection_names_is_dropped_too():
    assert (await answer(200, [(b"x-a", b"1"), (b"connection", b"X-A, close"), (b"x-b", b"1")])).headers == {"x-b": "1"}


async def test_a_long_header_that_is_left_out_is_logged(caplog):
    await answer(200, [(b"x-long", b"x" * 8193)])
    assert "x-long is over 8192 bytes" in caplog.text


@pytest.mark.parametrize(("size", "fits"), [(9, True), (10, True), (11, False)])
async def test_a_streamed_response_is_joined_and_held_to_the_limit(size, fits):
    chunks = [b"x"] * size

    async def app(scope, receive, send):
        await respond(send, 200, (), *chunks)

    handling = asgi_handler(app)(request_of(max_reply="10"))
    if fits:
        assert (await handling).body == b"x" * size
    else:
        with pytest.raises(BadReplyError, match="limit of 10"):
            await handling


async def test_an_app_that_goes_on_after_the_limit_keeps_nothing_in_memory_and_gets_no_answer_through():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        for _ in range(5):
            with suppress(BadReplyError):
                await send({"type": "http.response.body", "body": b"x" * 8, "more_body": True})

    with pytest.raises(BadReplyError):
        await asgi_handler(app)(request_of(max_reply="10"))


async def test_an_app_that_raises_has_failed():
    async def app(scope, receive, send):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await asgi_handler(app)(request_of())


async def test_an_app_that_raises_after_its_error_page_has_failed():
    async def app(scope, receive, send):
        await respond(send, 500, (), b"Internal Server Error")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await asgi_handler(app)(request_of())


async def test_an_answer_that_was_whole_before_something_failed_stands_and_the_failure_is_logged(caplog):
    async def app(scope, receive, send):
        await respond(send, 200, (), b"fine")
        raise ValueError("afterwards")

    assert (await asgi_handler(app)(request_of())).body == b"fine"
    assert "afterwards" in caplog.text


@pytest.mark.parametrize(
    "events",
    [
        [],
        [{"type": "http.response.start", "status": 200}],
        [{"type": "http.response.start", "status": 200}, {"type": "http.response.body", "more_body": True}],
        [{"type": "http.response.body"}],
        [{"type": "http.response.start", "status": 200}] * 2,
        [{"type": "http.response.start", "status": 200}, *[{"type": "http.response.body"}] * 2],
        [{"type": "http.response.start", "status": 200}, {"type": "http.response.trailers"}],
        [{"type": "websocket.accept"}],
    ],
    ids=lambda events: "-".join(event["type"].split(".")[-1] for event in events) or "none",
)
async def test_an_app_that_does_not_keep_to_asgi_has_failed_unless_its_answer_was_whole(events):
    async def app(scope, receive, send):
        for event in events:
            await send(event)

    whole = [event["type"] for event in events] == ["http.response.start", *["http.response.body"] * 2]
    if whole:
        assert (await asgi_handler(app)(request_of())).status == 200
    else:
        with pytest.raises(RuntimeError, match="ASGI"):
            await asgi_handler(app)(request_of())


# -- lifespan


class Lifespan:
    """An app that tells what happens to it."""

    def __init__(self, startup="complete", shutdown="complete"):
        self.events = []
        self.answers = {"lifespan.startup": startup, "lifespan.shutdown": shutdown}

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            self.events.append(("http", dict(scope["state"])))
            scope["state"]["mine"] = True
            await respond(send)
            return
        scope["state"]["shared"] = "value"
        for kind in ("lifespan.startup", "lifespan.shutdown"):
            event = await receive()
            assert event == {"type": kind}
            self.events.append(kind)
            if self.answers[kind] == "raise":
                raise OSError("database")
            await send({"type": f"{kind}.{self.answers[kind]}", "message": "no database"})


async def test_startup_comes_first_shutdown_last_and_the_state_is_each_calls_own_copy():
    app = Lifespan()
    handler = asgi_handler(app)
    async with handler.lifespan():
        await handler(request_of())
        await handler(request_of())
    state = {"shared": "value"}
    assert app.events == ["lifespan.startup", ("http", state), ("http", state), "lifespan.shutdown"]


async def test_an_app_that_cannot_start_stops_the_worker_and_says_why():
    app = Lifespan(startup="failed")
    with pytest.raises(LifespanError, match="no database"):
        async with asgi_handler(app).lifespan():
            pytest.fail("must not be entered")


async def raises_for_lifespan(scope, receive, send):
    assert scope["type"] == "http"
    await respond(send)


async def returns_for_lifespan(scope, receive, send):
    if scope["type"] == "http":
        await respond(send)


async def does_not_look_at_the_type(scope, receive, send):
    await receive()
    await respond(send)


@pytest.mark.parametrize("app", [raises_for_lifespan, returns_for_lifespan, does_not_look_at_the_type])
async def test_an_app_without_lifespan_works(app):
    handler = asgi_handler(app)
    async with asyncio.timeout(PATIENCE), handler.lifespan():
        assert (await handler(request_of())).status == 200
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "ASGI lifespan"]


async def test_an_app_that_raises_at_startup_is_served_without_lifespan_as_asgi_says(caplog):
    caplog.set_level(logging.INFO)
    handler = asgi_handler(Lifespan(startup="raise"))
    async with handler.lifespan():
        assert (await handler(request_of())).status == 200
    assert "OSError('database')" in caplog.text


@pytest.mark.parametrize(("how", "said"), [("failed", "no database"), ("raise", "database")])
async def test_an_app_that_does_not_stop_clean_is_logged(how, said, caplog):
    async with asgi_handler(Lifespan(shutdown=how)).lifespan():
        pass
    assert said in caplog.text


async def test_a_start_that_is_cancelled_leaves_no_task_behind():
    async def app(scope, receive, send):
        await asyncio.Event().wait()

    async def enter():
        async with asgi_handler(app).lifespan():
            pytest.fail("must not be entered")

    task = asyncio.create_task(enter())
    await until(lambda: any(t.get_name() == "ASGI lifespan" for t in asyncio.all_tasks()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not any(t.get_name() == "ASGI lifespan" for t in asyncio.all_tasks()))


# -- a framework, on a real broker


class Passing(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        return await call_next(request)


def application(events):
    async def echo(request: HttpRequest):
        return JSONResponse(
            {
                "method": request.method,
                "path": request.url.path,
                "query": dict(request.query_params),
                "body": (await request.body()).decode(),
                "db": request.state.db,
                "gone": await request.is_disconnected(),
                "trace": request.headers.get("traceparent"),
            },
            status_code=201,
            headers={"x-answer": "42", "set-cookie": "a=b"},
        )

    async def stream(request: HttpRequest):
        async def parts():
            for number in range(3):
                yield f"{number};"
                await asyncio.sleep(0)

        return StreamingResponse(parts(), media_type="text/plain")

    async def background(request: HttpRequest):
        return PlainTextResponse("now", background=BackgroundTask(events.append, "background"))

    async def broken(request: HttpRequest):
        raise RuntimeError("the secret of the trace")

    async def big(request: HttpRequest):
        return Response(b"x" * 1_001)

    async def elsewhere(request: HttpRequest):
        return RedirectResponse("/echo", 307)

    @asynccontextmanager
    async def lifespan(app):
        events.append("startup")
        yield {"db": "open"}
        events.append("shutdown")

    handlers = [echo, stream, background, broken, big, elsewhere]
    routes = [Route(f"/{handler.__name__}", handler, methods=["GET", "POST"]) for handler in handlers]
    return Starlette(routes=routes, lifespan=lifespan, middleware=[Middleware(Passing)])


@pytest.fixture
async def starlette(broker, queue):
    """Calls a Starlette app that is a worker on a real broker."""
    events = []
    async with running(asgi_worker(application(events), queue), broker), Requester(new_client(broker)) as requester:

        async def call(target, body=b"", **headers):
            return await requester.call(queue, body, http_target=target, **requester.in_time(), **headers)

        call.events = events
        yield call
    assert events[0] == "startup"
    assert events[-1] == "shutdown"


async def test_a_starlette_app_serves_messages(starlette):
    reply = await starlette("/echo?a=1", b"body", http_method="POST", traceparent=TRACE)
    assert reply.get("http_status") == "201"
    assert reply.get("content_type") == "application/json"
    assert reply.get("http_header_x_answer") == "42"
    assert reply.get("http_header_set_cookie") is None
    assert reply.body == (
        b'{"method":"POST","path":"/echo","query":{"a":"1"},"body":"body","db":"open","gone":false,'
        b'"trace":"' + TRACE.encode() + b'"}'
    )


async def test_a_starlette_stream_is_one_body(starlette):
    assert (await starlette("/stream")).body == b"0;1;2;"


async def test_a_background_task_is_part_of_the_job(starlette):
    assert (await starlette("/background")).body == b"now"
    assert starlette.events == ["startup", "background"]


async def test_an_exception_in_a_starlette_endpoint_is_worker_failed_and_its_trace_is_in_the_log(starlette, caplog):
    reply = await starlette("/broken")
    assert reply.get("problem") == "worker-failed"
    assert "secret" not in str(reply.headers)
    assert reply.body == b""
    assert "the secret of the trace" in caplog.text


async def test_too_large_a_response_is_bad_reply(starlette):
    assert (await starlette("/big", max_reply="1000")).get("problem") == "bad-reply"
    assert len((await starlette("/big", max_reply="1001")).body) == 1_001


async def test_an_unknown_path_is_the_apps_own_404_and_a_redirect_its_own_redirect(starlette):
    assert (await starlette("/nothing")).get("http_status") == "404"
    moved = await starlette("/elsewhere")
    assert (moved.get("http_status"), moved.get("http_header_location")) == ("307", "/echo")


async def test_a_target_that_is_no_path_is_a_400(starlette):
    assert (await starlette("http://evil.example/echo")).get("http_status") == "400"
