"""`/-/api/dlq` on a real broker: dead letters are listed, shown and dropped, and nothing else is touched."""

from __future__ import annotations

import asyncio
import base64
import secrets
from pathlib import Path
from urllib.parse import quote

import pytest

from activemq import Client, Credentials, Frame, Server
from activemq.frames import Limits
from bridge.deadletters.letter import LetterId
from tests.bridge.callers import PATIENCE, until
from tests.bridge.harness import ToldWorker, client_for
from tests.bridge.letters import BEARER, KEY, a_desk

pytestmark = pytest.mark.every_broker


@pytest.fixture
def queue():
    """A queue for each test: what is parked stays."""
    return f"test.{secrets.token_hex(6)}"


@pytest.fixture
async def desk(broker, queue):
    async with a_desk(broker, queue) as desk:
        yield desk


# -- who may


@pytest.mark.parametrize("path", ["", "?queue=a.poison", "/a.poison~ID:1", "/a.poison~ID:1/replay"])
@pytest.mark.parametrize("key", [None, "another", KEY[:-1]])
async def test_only_the_operator_may(desk, path, key):
    method = "POST" if path.endswith("replay") else "GET"
    headers = (("X-No", "key"),) if key is None else (("Authorization", f"Bearer {key}"),)
    response = await desk.ask(path, method, *headers)
    assert (response.status, response.name) == (401, "unauthenticated")
    assert response.get("www-authenticate") == "Bearer"


async def test_another_sites_page_can_do_nothing_even_with_the_key(desk):
    await desk.park()
    letter = await desk.the_letter()
    for method, end in (("DELETE", ""), ("POST", "/replay")):
        response = await desk.ask(f"/{letter['id']}{end}", method, BEARER, ("Origin", "https://evil.example"))
        assert (response.status, response.name) == (403, "forbidden")
        response = await desk.ask(f"/{letter['id']}{end}", method, ("Cookie", f"key={KEY}"))
        assert response.status == 401
    assert len(await desk.letters()) == 1


@pytest.mark.parametrize(("path", "method"), [("", "POST"), ("/a.poison~ID:1", "POST"), ("/a.poison~ID:1", "PUT")])
async def test_other_methods_are_refused(desk, path, method):
    response = await desk.ask(path, method)
    assert (response.status, response.name) == (405, "method-not-allowed")
    assert "GET" in response.get("allow")


# -- lists


def dead_letter_queues(desk):
    """That of our configuration, and the broker's default; one and the same, or two."""
    names = desk.client.profile.dead_letters([desk.queue])
    return names[0], names[-1]


async def test_every_route_has_its_queues_and_an_empty_one_counts_none(desk):
    await desk.park()
    await desk.park()
    listed = await desk.json()
    shelves = {shelf["queue"]: shelf for shelf in listed["queues"]}
    ours, stock = dead_letter_queues(desk)
    assert shelves[desk.poison] == {
        "queue": desk.poison, "kind": "poison", "routes": ["echo"], "count": 2, "more": False,
    }  # fmt: skip
    if ours != stock:
        assert shelves[ours] == {"queue": ours, "kind": "dead", "routes": ["echo"], "count": 0, "more": False}
    assert shelves[stock]["kind"] == "dead"
    assert set(shelves) == {desk.poison, ours, stock}


async def test_a_look_takes_nothing(desk, broker):
    await desk.park(b"one")
    for _ in range(3):
        await desk.the_letter()
        await desk.json()
        await desk.json(f"/{(await desk.the_letter())['id']}")
    async with ToldWorker(broker, desk.poison) as taker:
        frame = await taker.request(desk.poison)
        assert frame.body == b"one"
        assert frame.get("redelivered") in (None, "false")


@pytest.mark.parametrize("number", [4, 5, 6])
async def test_a_page_says_whether_there_is_another(desk, number):
    for n in range(number):
        await desk.park(str(n))
    first = await desk.json(f"?queue={desk.poison}&limit=5")
    if desk.client.profile.tells_time:
        assert all(letter["when_ms"] <= first["now_ms"] for letter in first["letters"])
    else:
        assert {letter["when_ms"] for letter in first["letters"]} == {None}
    assert len(first["letters"]) == min(number, 5)
    if number <= 5:
        assert first["next"] is None
        return
    assert first["next"] == first["letters"][-1]["id"]
    second = await desk.json(f"?queue={desk.poison}&limit=5&after={first['next']}")
    assert (len(second["letters"]), second["next"]) == (number - 5, None)
    ids = [letter["id"] for letter in first["letters"] + second["letters"]]
    assert len(set(ids)) == number


@pytest.mark.parametrize("number", [15, 16, 17, 48])
async def test_more_letters_than_are_sent_at_once_all_come_in_their_order(desk, number):
    for n in range(number):
        await desk.park("x" * n)
    assert [letter["size"] for letter in await desk.letters()] == list(range(number))


async def test_a_page_behind_a_letter_that_is_gone_is_said(desk):
    for _ in range(3):
        await desk.park()
    first, second, _ = await desk.letters()
    await desk.ask(f"/{first['id']}", "DELETE")
    response = await desk.ask(f"?queue={desk.poison}&after={first['id']}")
    assert (response.status, response.name) == (404, "no-dead-letter")
    assert len(await desk.letters(after=second["id"])) == 1


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "", "1e1", "99999", "٣"])
async def test_a_limit_that_is_none_is_refused(desk, limit):
    response = await desk.ask(f"?queue={desk.poison}&limit={quote(limit)}")
    assert (response.status, response.name, response.problem["field"]) == (400, "invalid-request", "limit")


@pytest.mark.parametrize("limit", ["1", "200"])
async def test_the_smallest_and_the_largest_page(desk, limit):
    await desk.park()
    assert len(await desk.letters(limit=limit)) == 1


@pytest.mark.parametrize(
    "name", ["{queue}", "", "a,b.poison", "a.>", ".poison", "DLQ.", "a?x=1.poison", "x" * 160 + ".poison"]
)
async def test_a_queue_that_holds_no_dead_letters_cannot_be_looked_into(desk, name):
    response = await desk.ask(f"?queue={quote(name.format(queue=desk.queue))}")
    assert (response.status, response.name, response.problem["field"]) == (400, "invalid-request", "queue")


async def test_large_bodies_are_not_kept_for_a_list(desk, monkeypatch):
    for _ in range(3):
        await desk.park(b"x" * (1 << 20))
    kept: list[int] = []
    from bridge.deadletters import office

    real = office.letter_of
    monkeypatch.setattr(office, "letter_of", lambda frame, *rest: kept.append(len(frame.body)) or real(frame, *rest))
    assert [letter["size"] for letter in await desk.letters()] == [1 << 20] * 3
    assert kept == [0, 0, 0]


# -- one letter


@pytest.mark.parametrize("body", [b"", b"\x00", bytes(range(256)), b"\xff\xfe", "text ✓", "a\nb", "{}"])
async def test_a_letter_is_shown_with_its_body_byte_for_byte(desk, body):
    await desk.park(body)
    shown = await desk.json(f"/{(await desk.the_letter())['id']}")
    data = body.encode() if isinstance(body, str) else body
    assert (base64.b64decode(shown["body_base64"]) if "body_base64" in shown else shown["body"].encode()) == data
    assert shown["size"] == len(data)
    assert shown["headers"]["http_target"] == "/echo?q=1"


HOSTILE = {
    "plain": "a\r\nb: c\\d",
    "escape": "\x1b[31mred",
    "browser": "end",
    "original_expires": "a:b",
    "it's": "a 'quote'",
    "http_header_x": "one\ntwo",
    "ünï": "côdé ✓",
    "timestamp_": "x",
}


async def test_hostile_headers_are_shown_as_they_are_and_harm_nothing(desk, broker):
    if "1.2" not in desk.client.profile.versions:
        pytest.skip("STOMP 1.1 has no escape for CR, so this test cannot send them")
    await desk.park(b"first")
    await desk.park(b"hostile", **HOSTILE)
    await desk.park(b"last")
    letters = await desk.letters()
    assert [letter["size"] for letter in letters] == [5, 7, 4]
    shown = await desk.json(f"/{letters[1]['id']}")
    assert HOSTILE.items() <= shown["headers"].items()
    async with ToldWorker(broker, desk.queue) as worker:
        response = await desk.replay(letters[1])
        request = await worker.request(desk.queue)
        headers = request.headers
        assert (headers["plain"], headers["http_header_x"]) == ("a\r\nb: c\\d", "one\ntwo")
        assert {"browser", "original_expires", "it's", "ünï"}.isdisjoint(headers)
        await worker.reply(request, b"ok")
        assert (await desk.result(response)).status == 200
    assert [letter["size"] for letter in await desk.letters()] == [5, 4]


@pytest.mark.parametrize("header", ["attempt", "priority_", "caller", "type", "content_type", "correlation-id"])
async def test_nonsense_in_any_field_hides_no_letter(desk, header):
    await desk.park(b"x", **{header: "\n:\\x" * 400})
    letter = await desk.the_letter()
    assert all(len(value) <= 500 for value in letter.values() if isinstance(value, str))


async def test_a_letter_that_is_larger_than_this_bridge_takes_is_shown_without_its_body_and_not_replayed(broker, queue):
    async with a_desk(broker, queue) as desk:
        await desk.park(b"x" * 5_000)
        office = desk.bridge.bridge._letters()
        real = office._new_client
        office._new_client = lambda max_body: real(4_999 if max_body is None else max_body)
        letter = await desk.the_letter()
        shown = await desk.json(f"/{letter['id']}")
        assert (shown["size"], shown["body"]) == (5_000, None)
        response = await desk.replay(letter)
        assert (response.status, response.name) == (409, "not-replayable")
        assert "5000 bytes" in response.problem["detail"]
        office._new_client = lambda max_body: real(5_000 if max_body is None else max_body)
        assert len((await desk.json(f"/{letter['id']}"))["body"]) == 5_000


UNKNOWN = ["ID:none", "x", "'", "' OR '1'='1", "%", "ID:a%2Fb", "\0", "a\nb", "~", "🦊"]


@pytest.mark.parametrize("name", UNKNOWN)
@pytest.mark.parametrize(("method", "end"), [("GET", ""), ("DELETE", ""), ("POST", "/replay")])
async def test_an_unknown_id_is_a_404_and_touches_nothing(desk, name, method, end):
    await desk.park()
    response = await desk.ask(f"/{LetterId(desk.poison, name)}{end}", method)
    assert (response.status, response.name) == (404, "no-dead-letter")
    assert len(await desk.letters()) == 1


@pytest.mark.parametrize("letter", ["x", "~", "a.poison~", "~ID:1", "%ff~ID:1", "a%2cb.poison~ID:1", "{live}~ID:1"])
@pytest.mark.parametrize(("method", "end"), [("GET", ""), ("DELETE", ""), ("POST", "/replay")])
async def test_what_is_no_id_is_a_404(desk, letter, method, end):
    response = await desk.ask(f"/{letter.format(live=desk.queue)}{end}", method)
    assert (response.status, response.name) == (404, "no-dead-letter")


async def test_a_message_of_a_live_queue_can_be_neither_shown_nor_taken(desk, broker):
    await desk.put(desk.queue, b"live", {})
    async with client_for(broker) as client:
        seen: asyncio.Queue[Frame] = asyncio.Queue()
        client.subscribe(lambda profile: profile.look(desk.queue, 1), seen.put_nowait)
        async with asyncio.timeout(PATIENCE):
            name = (await seen.get()).get("message-id")
    for method, end in (("GET", ""), ("DELETE", ""), ("POST", "/replay")):
        response = await desk.ask(f"/{LetterId(desk.queue, name)}{end}", method)
        assert (response.status, response.name) == (404, "no-dead-letter")
    async with ToldWorker(broker, desk.queue) as worker:
        assert (await worker.request(desk.queue)).body == b"live"


# -- dropping


async def test_a_dropped_letter_is_gone_and_the_others_stay(desk):
    for body in (b"1", b"22", b"333"):
        await desk.park(body)
    letters = await desk.letters()
    response = await desk.ask(f"/{letters[1]['id']}", "DELETE")
    assert (response.status, response.body) == (204, b"")
    assert [letter["id"] for letter in await desk.letters()] == [letters[0]["id"], letters[2]["id"]]
    assert (await desk.ask(f"/{letters[1]['id']}", "DELETE")).status == 404


async def test_a_letter_that_somebody_holds_is_said_to_be_held_and_given_back_it_can_be_dropped(desk, broker):
    if not desk.client.profile.browses:
        pytest.skip("without a browser nobody sees what another holds: it is said not to be there")
    await desk.park()
    letter = await desk.the_letter()
    taken: asyncio.Queue[Frame] = asyncio.Queue()
    async with client_for(broker) as client:
        client.subscribe(lambda profile: profile.consume(desk.poison), taken.put_nowait)
        async with asyncio.timeout(PATIENCE):
            await taken.get()
        for method, end in (("DELETE", ""), ("POST", "/replay")):
            response = await desk.ask(f"/{letter['id']}{end}", method)
            assert (response.status, response.name) == (409, "dead-letter-busy")
        assert (await desk.ask(f"/{letter['id']}")).status == 200  # a look harms nobody
    assert (await desk.ask(f"/{letter['id']}", "DELETE")).status == 204


# -- the connection


async def test_no_connection_is_left_open(own_broker, queue):
    broker = await own_broker()
    async with a_desk(broker, queue) as desk:
        await desk.park()
        before = set(open_sockets(broker))
        letter = await desk.the_letter()
        await desk.json()
        await desk.json(f"/{letter['id']}")
        await desk.ask(f"/{letter['id']}", "DELETE")
        await until(lambda: set(open_sockets(broker)) == before, "its own connections are closed")


def open_sockets(broker):
    """Local ports of this process' connections to the broker, as Linux lists them."""
    remote = f"0100007F:{broker.stomp_port:04X}"
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[2] == remote and row[3] == "01"]


async def test_a_broker_that_is_away_is_a_503_in_bounded_time(own_broker, queue, monkeypatch):
    monkeypatch.setattr("activemq.deadletters.CONNECT_TIMEOUT", 0.3)
    broker = await own_broker()
    async with a_desk(broker, queue) as desk:
        await broker.stop()
        for path, method in (("", "GET"), (f"?queue={desk.poison}", "GET"), (f"/{desk.poison}~ID:1/replay", "POST")):
            response = await desk.ask(path, method)
            assert (response.status, response.name) == (503, "broker-unavailable")


async def test_a_login_that_may_not_read_is_a_503_that_the_log_explains(own_broker, queue, caplog):
    from activemq.embedded import Login, Role

    limited = Login("limited", "secret-of-limited", frozenset({Role.WORKER}))
    broker = await own_broker(other_logins=[limited], worker_queues=["theirs.>"])
    async with a_desk(broker, queue) as desk:
        office = desk.bridge.bridge._letters()
        office._new_client = lambda max_body: Client(
            [Server("127.0.0.1", broker.stomp_port)],
            Credentials("limited", limited.passcode),
            limits=Limits(max_body=max_body or 0),
        )
        response = await desk.ask(f"?queue={desk.poison}")
    assert (response.status, response.name) == (503, "broker-unavailable")
    assert "refuses this" in response.problem["detail"]
    assert "not authorized" in caplog.text or "does not have permission" in caplog.text
    assert limited.passcode not in caplog.text


async def test_one_visit_at_a_time_and_who_waits_too_long_is_told(desk, monkeypatch):
    monkeypatch.setattr("bridge.deadletters.office.TURN_WITHIN", 0.05)
    async with desk.bridge.bridge._letters()._turn:
        response = await desk.ask()
        assert (response.status, response.name) == (409, "dead-letter-busy")
    assert (await desk.ask()).status == 200
