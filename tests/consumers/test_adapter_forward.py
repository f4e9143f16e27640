"""The sidecar: what reaches the HTTP service, byte for byte, and what becomes of what it does or does not answer."""

from __future__ import annotations

import asyncio
import gzip
import json
from contextlib import asynccontextmanager

import httpx
import pytest

from activemq import Clock, Frame, RequestMessage
from consumers import Reply, Request
from consumers.adapters.forward import forward_handler, forward_worker
from consumers.reply import BadReplyError, RefusedError
from tests.consumers.harness import PATIENCE, Requester, new_client, running, until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Service:
    """A server that keeps what it gets and answers what it is told: bytes, or a coroutine that has the connection."""

    def __init__(self, answer=OK):
        self.answer = answer
        self.requests = []  # (head, body)
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self.url = ""

    async def _serve(self, reader, writer):
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
                body = await reader.readexactly(int(fields.get(b"content-length", 0)))
                self.requests.append((head.decode(), body))
                if callable(self.answer):
                    await self.answer(writer)
                else:
                    writer.write(self.answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has left
        finally:
            self.open -= 1
            writer.close()

    @property
    def line(self) -> str:
        """The last request's first line."""
        return self.requests[-1][0].split("\r\n")[0]

    @property
    def headers(self) -> dict[str, str]:
        lines = self.requests[-1][0].split("\r\n")[1:-2]
        assert len({line.partition(":")[0].lower() for line in lines}) == len(lines)  # none is there twice
        return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


@asynccontextmanager
async def serving(answer=OK):
    service = Service(answer)
    server = await asyncio.start_server(service._serve, "127.0.0.1", 0)
    service.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    tasks = asyncio.all_tasks()
    try:
        yield service
    finally:
        server.close()
        mine = asyncio.all_tasks() - tasks - {asyncio.current_task()}
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)


@pytest.fixture
async def service():
    async with serving() as service:
        yield service


@pytest.fixture
async def client():
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


def request_of(body: bytes = b"", **headers: str) -> Request:
    named = {"correlation-id": "c1"} | {name.replace("_id", "-id"): value for name, value in headers.items()}
    return Request(RequestMessage(Frame.of("MESSAGE", named, body)), Clock())


def in_(seconds: float) -> str:
    return str(round(Clock().now_ms() + seconds * 1_000))


# -- what goes out


async def test_method_target_headers_and_body_reach_the_service(service, client):
    request = request_of(
        b"\x00body",
        http_method="PUT",
        http_target="/a%20b/%2F?x=%201&y",
        content_type="image/png",
        http_header_accept_language="de",
        http_header_x_shop="grüß",
        traceparent="00-1-2-01",
    )
    reply = await forward_handler(service.url, client)(request)
    assert reply == Reply(b"ok", 200, None, {})
    assert service.line == "PUT /a%20b/%2F?x=%201&y HTTP/1.1"
    assert service.requests[-1][1] == b"\x00body"
    expected = {
        "host": service.url.removeprefix("http://"),
        "content-length": "5",
        "content-type": "image/png",
        "accept-language": "de",
        "x-shop": "grüß",
        "correlation-id": "c1",
        "traceparent": "00-1-2-01",
        "accept-encoding": "identity",
    }
    assert expected.items() <= service.headers.items()


async def test_a_get_without_a_body_has_none(service, client):
    await forward_handler(service.url, client)(request_of(http_method="GET", http_target="/"))
    assert service.line == "GET / HTTP/1.1"
    assert "content-length" not in service.headers
    assert "transfer-encoding" not in service.headers


@pytest.mark.parametrize(
    ("path", "target", "asked"),
    [
        ("", "/", "/"),
        ("/", "/", "/"),
        ("/api", "/", "/api/"),
        ("/api/", "/orders?x=1", "/api/orders?x=1"),
        ("/a%20b", "/c", "/a%20b/c"),
        ("", "/a//b", "/a//b"),
        ("", "/?", "/"),
        ("", "/x?y=../..", "/x?y=../.."),
        ("", "/...", "/..."),
        ("", "/a..b", "/a..b"),
        ("", "/'()*!$&+,;=:@[]|", "/'()*!$&+,;=:@[]|"),
    ],
)
async def test_the_target_is_put_behind_the_base_as_it_is(service, client, path, target, asked):
    await forward_handler(service.url + path, client)(request_of(http_method="GET", http_target=target))
    assert service.line == f"GET {asked} HTTP/1.1"


@pytest.mark.parametrize(
    "target", ["//evil.example/x", "//evil.example:80", "/\\evil.example", "/@evil.example", "/http://evil.example/"]
)
async def test_no_target_changes_the_host(service, client, target):
    await forward_handler(service.url, client)(request_of(http_target=target))
    assert service.line == f"POST {target} HTTP/1.1"
    assert service.headers["host"] == service.url.removeprefix("http://")


@pytest.mark.parametrize(
    "target",
    [
        "http://evil.example/x",
        "https://evil.example",
        "evil.example",
        "@evil.example/",
        "?x",
        "/a b",
        "/a\r\nHost: evil.example",
        "/a#b",
        "/..",
        "/../admin",
        "/a/../../admin",
        "/a/..",
        "/.",
        "/%2e%2e/admin",
        "/.%2E/admin",
        "/%2e%2e%2fadmin",
        "/..%5cadmin",
        "/..\\admin",
        "/..;x=1/admin",
        "/a/..;/admin",
    ],
)
async def test_a_target_that_is_no_path_or_leads_out_of_the_base_is_a_400_and_goes_nowhere(service, client, target):
    with pytest.raises(RefusedError) as raised:
        await forward_handler(f"{service.url}/api", client)(request_of(http_target=target))
    assert raised.value.reply.status == 400
    assert service.requests == []


@pytest.mark.parametrize("name", ["host", "content_length", "transfer_encoding", "connection", "expect", "te"])
async def test_a_message_cannot_set_the_host_or_the_framing(service, client, name):
    await forward_handler(service.url, client)(request_of(b"x", **{f"http_header_{name}": "999"}))
    assert "999" not in service.headers.values()
    assert service.requests[-1][1] == b"x"


async def test_what_the_client_brings_goes_out_but_never_cookies_of_another_call(service):
    service.answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=first\r\nContent-Length: 0\r\n\r\n"
    async with httpx.AsyncClient(trust_env=False, headers={"x-key": "k"}, auth=("me", "pass")) as client:
        handler = forward_handler(service.url, client)
        reply = await handler(request_of())
        await handler(request_of())
        assert service.headers["x-key"] == "k"
        assert service.headers["authorization"].startswith("Basic ")
        assert "cookie" not in service.headers
        await handler(request_of(http_header_cookie="mine=1"))
        assert service.headers["cookie"] == "mine=1"
    assert "set-cookie" not in reply.headers


# -- what comes back


async def test_status_type_headers_and_body_come_back(service, client):
    service.answer = (
        b"HTTP/1.1 404 Nothing\r\nContent-Type: text/html\r\nETag: x\r\nVary: a\r\nVary: b\r\n"
        b"Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nContent-Length: 3\r\n\r\n\x00\xff!"
    )
    reply = await forward_handler(service.url, client)(request_of())
    assert reply == Reply(b"\x00\xff!", 404, "text/html", {"etag": "x", "vary": "a, b"})


async def test_a_redirect_is_not_followed(service, client):
    service.answer = b"HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n"
    async with httpx.AsyncClient(trust_env=False, follow_redirects=True) as client:
        reply = await forward_handler(service.url, client)(request_of())
    assert (reply.status, reply.headers) == (302, {"location": "http://evil.example/"})


async def test_the_answer_to_a_head_has_no_body(service, client):
    service.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"
    assert (await forward_handler(service.url, client)(request_of(http_method="HEAD"))).body == b""


async def test_a_chunked_response_is_joined(service, client):
    service.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    assert (await forward_handler(service.url, client)(request_of())).body == b"abc"


async def test_an_encoded_body_comes_as_it_is_if_the_caller_asked_for_it(service, client):
    body = gzip.compress(b"text")
    service.answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    reply = await forward_handler(service.url, client)(request_of(http_header_accept_encoding="gzip"))
    assert (reply.body, reply.headers) == (body, {"content-encoding": "gzip"})


async def test_an_encoding_that_nobody_asked_for_is_a_bad_reply(service, client):
    service.answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx"
    with pytest.raises(BadReplyError, match="gzip"):
        await forward_handler(service.url, client)(request_of())


@pytest.mark.parametrize(("size", "fits"), [(9, True), (10, True), (11, False)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_the_response_is_held_to_the_limit(service, client, size, fits, chunked):
    body = b"x" * size
    head = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
    data = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body) if chunked else body
    service.answer = b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (head, data)
    handling = forward_handler(service.url, client)(request_of(max_reply="10"))
    if fits:
        assert (await handling).body == body
    else:
        with pytest.raises(BadReplyError, match="limit of 10"):
            await handling


async def test_a_response_without_end_is_cut_off_while_reading_and_the_next_call_is_served(service, client):
    sent = 0

    async def endless(writer):
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    service.answer = endless
    handler = forward_handler(service.url, client)
    with pytest.raises(BadReplyError):
        await handler(request_of(max_reply="100000"))
    await until(lambda: service.open == 0)
    assert sent < 64 * 2**20
    service.answer = OK
    assert (await handler(request_of())).body == b"ok"


# -- when there is no answer


def problem_of(reply: Reply) -> tuple[int, str]:
    document = json.loads(reply.body)
    assert reply.content_type == "application/problem+json"
    assert document["status"] == reply.status
    assert "127.0.0.1" not in str(document)
    return reply.status, document["ran"]


async def test_nobody_there_is_a_503_that_may_be_retried(client, unused_tcp_port, caplog):
    reply = await forward_handler(f"http://127.0.0.1:{unused_tcp_port}", client)(request_of())
    assert problem_of(reply) == (503, "no")
    assert "cannot connect" in caplog.text


async def test_a_service_that_is_slower_than_the_deadline_is_left_at_it(service, client, caplog):
    async def hang(writer):
        await asyncio.Event().wait()

    service.answer = hang
    async with asyncio.timeout(PATIENCE):
        reply = await forward_handler(service.url, client)(request_of(deadline_ms=in_(0.2)))
    assert problem_of(reply) == (504, "maybe")
    assert "has not answered within" in caplog.text
    await until(lambda: client._transport._pool.connections == [])  # the connection is not left hanging


async def test_a_service_that_trickles_is_left_at_the_deadline_too(service, client):
    async def trickle(writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    service.answer = trickle
    async with asyncio.timeout(PATIENCE):
        reply = await forward_handler(service.url, client)(request_of(deadline_ms=in_(0.3)))
    assert problem_of(reply) == (504, "maybe")


async def test_without_a_deadline_there_is_a_timeout_of_its_own(service, client):
    async def hang(writer):
        await asyncio.Event().wait()

    service.answer = hang
    async with asyncio.timeout(PATIENCE):
        assert problem_of(await forward_handler(service.url, client, timeout=0.2)(request_of())) == (504, "maybe")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"not http at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nCont",
    ],
)
async def test_a_connection_that_breaks_is_a_502_that_may_have_run(service, client, data):
    async def breaks(writer):
        writer.write(data)
        await writer.drain()
        raise ConnectionError

    service.answer = breaks
    assert problem_of(await forward_handler(service.url, client)(request_of())) == (502, "maybe")


async def test_cancelled_it_lets_the_connection_go(service, client):
    async def hang(writer):
        await asyncio.Event().wait()

    service.answer = hang
    task = asyncio.create_task(forward_handler(service.url, client)(request_of()))
    await until(lambda: service.requests)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: client._transport._pool.connections == [])


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:9000",
        "ftp://x/",
        "http://",
        "/path",
        "http://u:p@x/",
        "http://x/?q",
        "http://x/?q=1",
        "http://x/#f",
        "http://x:99999",
    ],
)
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match=r"http://|URL"):
        forward_worker("q", url, 1)


# -- as a worker, on a real broker


@pytest.fixture
async def sidecar(broker, queue, service):
    worker = forward_worker(queue, f"{service.url}/base", 2)
    async with running(worker, broker, 2), Requester(new_client(broker)) as requester:

        async def call(target="/", **headers):
            return await requester.call(queue, b"body", http_target=target, **headers)

        call.requester = requester
        yield call


async def test_a_sidecar_serves_messages(sidecar, service):
    reply = await sidecar("/orders?x=1", http_method="PUT", **sidecar.requester.in_time())
    assert (reply.get("http_status"), reply.body) == ("200", b"ok")
    assert service.line == "PUT /base/orders?x=1 HTTP/1.1"


async def test_a_sidecar_keeps_its_connections_and_has_no_more_than_slots(sidecar, service, queue):
    requester = sidecar.requester
    calls = [await requester.send(queue, b"x", http_target="/") for _ in range(20)]
    for call in calls:
        assert (await requester.reply(call)).body == b"ok"
    assert service.connections <= 2


async def test_a_sidecar_takes_no_cookies_along(sidecar, service):
    service.answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=first\r\nContent-Length: 0\r\n\r\n"
    await sidecar()
    await sidecar()
    assert "cookie" not in service.headers


async def test_a_sidecar_does_not_go_through_the_environments_proxy(broker, queue, service, requester, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with running(forward_worker(queue, service.url, 1), broker):
        assert (await requester.call(queue)).body == b"ok"


async def test_a_sidecars_bad_target_and_too_large_a_response(sidecar, service):
    assert (await sidecar("http://evil.example/")).get("http_status") == "400"
    assert (await sidecar("/x/../..")).get("http_status") == "400"
    service.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + b"x" * 11
    assert (await sidecar(max_reply="10")).get("problem") == "bad-reply"
