"""What is sent again, where and when; and what never is. The bridges here are functions."""

from __future__ import annotations

import json

import httpx
import pytest

from bridge.client import AsyncBridgeTransport, BearerKey, BridgeTransport, JobError, new_key, problem_of
from tests.bridge.client.either import KINDS, either

A, B = "http://a:1", "http://b:2"
KEY = {"Idempotency-Key": "k"}
ID = "8c1f0d4e2b7a4c55a0e6b1c2d3e4f506"


def problem(name, status=503, ran="no", retry_after=None, **headers):
    document = {"type": f"/problems/{name}", "title": "", "status": status, "detail": "why", "ran": ran}
    extra = {} if retry_after is None else {"retry-after": str(retry_after)}
    return httpx.Response(
        status,
        headers={"content-type": "application/problem+json", "correlation-id": ID, **extra, **headers},
        content=json.dumps(document),
    )


def ok():
    return httpx.Response(200, text="ok")


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def clock(monkeypatch):
    """A time that passes only in pauses; holds them."""

    class Clock(list):
        now = 1_000.0

        def sleep(self, seconds):
            self.now += seconds
            if seconds:
                self.append(seconds)

    clock = Clock()

    async def asleep(seconds):
        clock.sleep(seconds)

    monkeypatch.setattr("bridge.client.transport._clock", lambda: clock.now)
    monkeypatch.setattr("bridge.client.transport.time.sleep", clock.sleep)
    monkeypatch.setattr("bridge.client.transport.anyio.sleep", asleep)
    return clock


class Bridges:
    """Each address answers with the next of its list, the last one again and again; errors are raised."""

    def __init__(self, **answers):
        self.answers = {
            name: list(found) if isinstance(found, (list, tuple)) else [found] for name, found in answers.items()
        }
        self.asked = []
        self.requests = []

    def __call__(self, request):
        host = request.url.host
        self.asked.append(host)
        self.requests.append(request)
        answers = self.answers[host]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer()

    async def ask(self, kind, method="POST", path="/r", addresses=(A, B), **options):
        async with either(kind, addresses, transport=httpx.MockTransport(self)) as client:
            return await client.request(method, path, **options)


REFUSED = httpx.ConnectError("refused")
LOST = httpx.RemoteProtocolError("lost")


async def test_a_bridge_that_cannot_be_connected_to_is_passed_over_at_once(kind, clock):
    bridges = Bridges(a=REFUSED, b=ok)
    assert (await bridges.ask(kind, content=b"x")).text == "ok"
    assert (bridges.asked, clock) == (["a", "b"], [])


async def test_the_one_that_answered_last_is_asked_first(kind, clock):
    bridges = Bridges(a=REFUSED, b=ok)
    async with either(kind, [A, B], transport=httpx.MockTransport(bridges)) as client:
        for _ in range(3):
            await client.request("POST", "/r")
    assert bridges.asked == ["a", "b", "b", "b"]


async def test_after_an_answer_of_a_gateway_the_next_request_begins_with_another_address(kind, clock):
    """Also where this one may not be sent again: there may be no bridge behind the first any more."""
    bridges = Bridges(a=lambda: httpx.Response(502), b=ok)
    async with either(kind, [A, B], transport=httpx.MockTransport(bridges)) as client:
        statuses = [(await client.request("POST", "/r")).status_code for _ in range(3)]
    assert (bridges.asked, statuses) == (["a", "b", "b"], [502, 200, 200])


async def test_after_an_answer_that_did_not_come_the_next_request_begins_with_another_address(kind, clock):
    bridges = Bridges(a=httpx.ReadTimeout("late"), b=ok)
    async with either(kind, [A, B], transport=httpx.MockTransport(bridges)) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.request("POST", "/r")
        await client.request("POST", "/r")
    assert bridges.asked == ["a", "b"]


@pytest.mark.parametrize("error", [LOST, httpx.ReadError("reset"), httpx.ReadTimeout("late"), httpx.WriteError("gone")])
async def test_what_may_have_run_is_not_sent_again_without_a_key(kind, clock, error):
    bridges = Bridges(a=error, b=ok)
    with pytest.raises(type(error)):
        await bridges.ask(kind, content=b"x")
    assert bridges.asked == ["a"]


@pytest.mark.parametrize("error", [LOST, httpx.ReadError("reset"), httpx.ReadTimeout("late"), httpx.WriteError("gone")])
async def test_with_a_key_it_is(kind, clock, error):
    bridges = Bridges(a=error, b=ok)
    assert (await bridges.ask(kind, content=b"body", headers=KEY)).text == "ok"
    assert [request.content for request in bridges.requests] == [b"body"] * 2
    assert [request.headers["idempotency-key"] for request in bridges.requests] == ["k"] * 2


@pytest.mark.parametrize(
    ("method", "path", "again"),
    [
        ("GET", f"/jobs/{ID}", True),
        ("GET", f"/jobs/{ID}/result", True),
        ("DELETE", f"/jobs/{ID}", True),
        ("GET", "/-/ready", True),
        ("HEAD", "/openapi.json", True),
        ("GET", "/r", False),  # a route's GET is work like any other
        ("PUT", "/r", False),
        ("DELETE", "/r", False),
        ("POST", "/-/reload", False),
        ("DELETE", f"/jobs/{ID}/result", False),
        ("GET", "/docs/r", False),
        ("GET", "/jobsite", False),
    ],
)
async def test_the_bridges_own_pages_may_be_asked_twice_and_no_route(kind, clock, method, path, again):
    bridges = Bridges(a=LOST, b=ok)
    if again:
        assert (await bridges.ask(kind, method, path)).status_code == 200
    else:
        with pytest.raises(httpx.RemoteProtocolError):
            await bridges.ask(kind, method, path)
    assert len(bridges.asked) == 1 + again


@pytest.mark.parametrize(
    ("name", "status"), [("draining", 503), ("bridge-full", 503), ("route-full", 503), ("broker-unavailable", 503)]
)
async def test_a_bridge_that_has_not_run_it_leaves_it_to_another_at_once(kind, clock, name, status):
    bridges = Bridges(a=lambda: problem(name, status, retry_after=7), b=ok)
    assert (await bridges.ask(kind, content=b"x")).text == "ok"
    assert (bridges.asked, clock) == (["a", "b"], [])


@pytest.mark.parametrize("name", ["no-worker", "queue-full", "store-unavailable", "keys-unavailable", "caller-limit"])
async def test_what_is_so_for_all_bridges_is_waited_for(kind, clock, name):
    status = 429 if name == "caller-limit" else 503
    bridges = Bridges(a=lambda: problem(name, status, retry_after=7), b=ok)
    assert (await bridges.ask(kind, content=b"x")).text == "ok"
    assert (bridges.asked, clock) == (["a", "b"], [7.0])


async def test_retry_after_holds_for_the_next_request_too(kind, clock):
    bridges = Bridges(a=[lambda: problem("draining", retry_after=9), ok], b=[ok, REFUSED])
    async with either(kind, [A, B], transport=httpx.MockTransport(bridges)) as client:
        await client.request("POST", "/r")
        await client.request("POST", "/r")
    assert (bridges.asked, clock) == (["a", "b", "b", "a"], [9.0])


async def test_the_answer_is_the_last_one_if_the_deadline_comes_first(kind, clock):
    bridges = Bridges(a=lambda: problem("no-worker", retry_after=7))
    response = await bridges.ask(kind, addresses=A, extensions={"deadline": 20.0})
    assert problem_of(response)["name"] == "no-worker"
    assert (len(bridges.asked), clock) == (3, [7.0, 7.0])


async def test_the_error_is_the_last_one_if_the_deadline_comes_first(kind, clock):
    bridges = Bridges(a=REFUSED, b=REFUSED)
    with pytest.raises(httpx.ConnectError):
        await bridges.ask(kind, extensions={"deadline": 20.0})
    assert sum(clock) < 20.0
    assert max(clock) <= 5.0
    assert clock[0] <= 0.1
    assert bridges.asked[:4] == ["a", "b", "a", "b"]


@pytest.mark.parametrize("left", [19.0, 20.0])
async def test_an_attempt_has_what_is_left_of_the_deadline_and_no_more(kind, clock, left):
    bridges = Bridges(a=[lambda: problem("no-worker", retry_after=7), ok])
    await bridges.ask(kind, addresses=A, extensions={"deadline": left})
    first, second = (request.extensions["timeout"] for request in bridges.requests)
    assert (first["read"], second["read"]) == (left, left - 7)
    assert first["connect"] == 5.0


@pytest.mark.parametrize("status", [200, 202, 404, 500])
async def test_other_answers_are_answers(kind, clock, status):
    bridges = Bridges(a=lambda: httpx.Response(status), b=ok)
    assert (await bridges.ask(kind, headers=KEY)).status_code == status
    assert bridges.asked == ["a"]


@pytest.mark.parametrize(
    "answer",
    [
        lambda: problem("worker-failed", 502, "yes"),
        lambda: problem("worker-lost", 502, "maybe", **{"job-state": "failed"}),
        lambda: problem("deadline", 504, "maybe", **{"job-state": "queued"}),
        lambda: problem("broker-unavailable", 503, "maybe", **{"job-state": "failed"}),
        lambda: httpx.Response(503, headers={"correlation-id": ID, "retry-after": "1"}, text="the worker's own"),
        lambda: httpx.Response(
            503, headers={"correlation-id": ID, "content-type": "application/problem+json"}, text="{"
        ),
    ],
)
async def test_what_has_run_is_not_sent_again_with_a_key_either(kind, clock, answer):
    bridges = Bridges(a=answer, b=ok)
    response = await bridges.ask(kind, headers=KEY)
    assert response.status_code == answer().status_code
    assert response.content == answer().content
    assert bridges.asked == ["a"]


@pytest.mark.parametrize(
    "answer",
    [
        lambda: problem("broker-unavailable", 503, "maybe"),
        lambda: problem("broker-lost", 502, "maybe"),
        lambda: problem("store-unavailable", 503, "maybe"),
        lambda: httpx.Response(502, text="a balancer's"),
        lambda: httpx.Response(504, text="a balancer's"),
    ],
)
async def test_what_may_have_run_is_sent_again_with_a_key_only(kind, clock, answer):
    bridges = Bridges(a=answer, b=ok)
    assert (await bridges.ask(kind, headers=KEY)).text == "ok"
    bridges = Bridges(a=answer, b=ok)
    assert (await bridges.ask(kind)).status_code == answer().status_code
    assert bridges.asked == ["a"]


async def test_a_retry_after_that_is_no_number_is_one_second(kind, clock):
    bridges = Bridges(a=[lambda: problem("no-worker", retry_after="Sun, 22 Nov 2026 12:00:00 GMT"), ok])
    await bridges.ask(kind, addresses=A)
    assert clock == [1.0]


async def test_whatever_the_url_says_it_goes_to_one_of_the_addresses(kind):
    bridges = Bridges(a=ok)
    await bridges.ask(kind, "GET", "https://elsewhere.example/jobs/x?y=%2f", addresses="http://a:1/behind/proxy/")
    (request,) = bridges.requests
    assert str(request.url) == "http://a:1/behind/proxy/jobs/x?y=%2f"
    assert request.headers.get_list("host") == ["a:1"]


async def test_a_body_without_a_length_stays_one(kind):
    bridges = Bridges(a=LOST, b=ok)

    def parts():
        yield b"one"
        yield b"two"

    async def aparts():
        for part in parts():
            yield part

    await bridges.ask(kind, content=parts() if kind == "blocking" else aparts(), headers=KEY)
    for request in bridges.requests:
        assert request.read() == b"onetwo"
        assert request.headers["transfer-encoding"] == "chunked"
        assert "content-length" not in request.headers


@pytest.mark.parametrize("kind_of", [BridgeTransport, AsyncBridgeTransport])
@pytest.mark.parametrize(
    "addresses", [[], "a:1", "ftp://a", "http://user:pass@a", "http://a?q=1", "http://a\n", "http:///x"]
)
def test_an_address_that_is_none_is_refused_without_its_password(kind_of, addresses):
    with pytest.raises(ValueError) as caught:
        kind_of(addresses)
    assert "pass@" not in str(caught.value)


# -- keys of callers


async def test_a_key_goes_with_each_request_and_is_not_shown(kind):
    bridges = Bridges(a=LOST, b=ok)
    auth = BearerKey("mqb_secret")
    assert "secret" not in repr(auth)
    async with either(kind, [A, B], transport=httpx.MockTransport(bridges), auth=auth) as client:
        await client.request("POST", "/r", headers=KEY)
    assert [request.headers["authorization"] for request in bridges.requests] == ["Bearer mqb_secret"] * 2


async def test_a_key_that_has_changed_in_its_file_is_read_anew(kind, tmp_path):
    file = tmp_path / "key"
    file.write_text("old\n")

    def refuse():
        file.write_text("new\n")
        return httpx.Response(401)

    bridges = Bridges(a=[refuse, ok])
    async with either(kind, A, transport=httpx.MockTransport(bridges), auth=BearerKey(file)) as client:
        assert (await client.request("POST", "/r")).status_code == 200
    assert [request.headers["authorization"] for request in bridges.requests] == ["Bearer old", "Bearer new"]


async def test_a_key_that_is_wrong_is_not_sent_again(kind, tmp_path):
    file = tmp_path / "key"
    file.write_text("old")
    bridges = Bridges(a=lambda: httpx.Response(401))
    async with either(kind, A, transport=httpx.MockTransport(bridges), auth=BearerKey(file)) as client:
        assert (await client.request("POST", "/r")).status_code == 401
    assert bridges.asked == ["a"]


@pytest.mark.parametrize("change", [lambda file: file.write_text(""), lambda file: file.unlink()])
async def test_a_key_file_that_is_being_written_leaves_the_401_as_it_is(kind, tmp_path, change):
    file = tmp_path / "key"
    file.write_text("old")

    def refuse():
        change(file)
        return httpx.Response(401)

    async with either(kind, A, transport=httpx.MockTransport(Bridges(a=refuse)), auth=BearerKey(file)) as client:
        assert (await client.request("POST", "/r")).status_code == 401


@pytest.mark.parametrize("key", ["", " \n", "two words", "a\nb", "schlüssel"])
def test_a_key_is_one_line_of_visible_ascii(key):
    with pytest.raises(ValueError):
        BearerKey(key)


def test_keys_of_calls_are_new_each_time():
    assert len({new_key() for _ in range(100)}) == 100
    assert len(new_key()) == 32


# -- jobs whose bridges say nonsense


@pytest.mark.parametrize(("max_pause", "asked"), [(6.9, ["a"]), (7.0, ["a", "a"]), (None, ["a", "a"])])
async def test_a_longer_pause_than_is_allowed_is_not_made(kind, clock, max_pause, asked):
    bridges = Bridges(a=[lambda: problem("no-worker", retry_after=7), ok])
    async with either(kind, A, transport=httpx.MockTransport(bridges), max_pause=max_pause) as client:
        await client.request("POST", "/r")
    assert bridges.asked == asked


async def test_without_pauses_other_addresses_are_asked_all_the_same(kind, clock):
    bridges = Bridges(a=REFUSED, b=REFUSED)
    async with either(kind, [A, B], transport=httpx.MockTransport(bridges), max_pause=0.0) as client:
        with pytest.raises(httpx.ConnectError):
            await client.request("POST", "/r")
    assert (bridges.asked, clock) == (["a", "b"], [])


async def test_an_answer_without_a_job_is_an_error_that_holds_it(kind):
    bridges = Bridges(a=lambda: problem("no-route", 404))
    async with either(kind, A, transport=httpx.MockTransport(bridges)) as client:
        with pytest.raises(JobError, match="404 no-route: why") as caught:
            await client.submit("POST", "/r")
    assert caught.value.response.status_code == 404


async def test_a_problem_that_is_not_the_jobs_is_not_its_result(kind, clock):
    bridges = Bridges(a=lambda: problem("no-job", 404))
    async with either(kind, A, transport=httpx.MockTransport(bridges)) as client:
        with pytest.raises(JobError, match="no-job"):
            await client.do(client.client.job(ID).result)
        with pytest.raises(JobError, match="no-job"):
            await client.events(client.client.job(ID))
        with pytest.raises(JobError, match="no-job"):
            await client.do(client.client.job(ID).state)
        with pytest.raises(JobError, match="no-job"):
            await client.do(client.client.job(ID).cancel)


@pytest.mark.parametrize("job_id", ["", "../x", ID.upper(), ID + "0", ID + "\n"])
async def test_what_is_no_id_never_becomes_a_path(kind, job_id):
    async with either(kind, A, transport=httpx.MockTransport(Bridges(a=ok))) as client:
        with pytest.raises(ValueError):
            client.client.job(job_id)
