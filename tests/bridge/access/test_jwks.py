"""The issuer's keys: when they are fetched, and what is done while they cannot be."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from bridge.access.jwks import APART, FRESH, STALE, KeySet, KeysUnavailableError, fetch_over_http, usable_keys
from tests.bridge.access.issuer import Issuer


class Source:
    """Gives the issuer's document, or fails; counts."""

    def __init__(self):
        self.issuer = Issuer()
        self.asked = 0
        self.time = 1_000.0
        self.error = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.keys = KeySet(self.fetch, lambda: self.time)

    async def fetch(self):
        self.asked += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.issuer.document


@pytest.fixture
async def source():
    return Source()


async def test_keys_are_fetched_once_for_many_tokens(source):
    for _ in range(5):
        assert (await source.keys.key("first")).key_id == "first"
    assert source.asked == 1


async def test_many_who_ask_at_once_wait_for_one_fetch(source):
    source.gate.clear()
    asking = [asyncio.create_task(source.keys.key("first")) for _ in range(20)]
    await asyncio.sleep(0)
    source.gate.set()
    assert {key.key_id for key in await asyncio.gather(*asking)} == {"first"}
    assert source.asked == 1


async def test_one_who_gives_up_does_not_take_the_fetch_from_the_others(source):
    source.gate.clear()
    first, second = (asyncio.create_task(source.keys.key("first")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    source.gate.set()
    assert (await second).key_id == "first"


async def test_a_new_key_is_found_when_its_first_token_comes(source):
    await source.keys.key("first")
    source.issuer.rotate("RS256", "second")
    source.time += APART
    assert (await source.keys.key("second")).key_id == "second"
    assert await source.keys.key("first") is None


async def test_made_up_key_ids_do_not_become_a_load_on_the_issuer(source):
    await source.keys.key("first")
    for number in range(50):
        assert await source.keys.key(f"made up {number}") is None
    assert source.asked == 1
    source.time += APART
    assert await source.keys.key("made up") is None
    assert source.asked == 2


async def test_older_keys_are_used_while_new_ones_are_fetched(source):
    await source.keys.key("first")
    source.time += FRESH
    source.gate.clear()
    assert (await source.keys.key("first")).key_id == "first"
    assert source.asked == 1  # the fetch is a task of its own
    source.gate.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert source.asked == 2


@pytest.mark.parametrize("error", [httpx.ConnectError("no"), ValueError("no JSON"), TimeoutError()])
async def test_without_any_keys_no_token_can_be_judged(source, error):
    source.error = error
    with pytest.raises(KeysUnavailableError):
        await source.keys.key("first")
    source.error = None
    source.time += APART
    assert await source.keys.key("first") is not None


async def test_keys_are_taken_for_an_hour_while_the_issuer_does_not_answer(source):
    await source.keys.key("first")
    source.error = httpx.ConnectError("no")
    source.time += STALE - 1
    assert await source.keys.key("first") is not None
    await asyncio.sleep(0)
    source.time += APART + 1
    with pytest.raises(KeysUnavailableError):
        await source.keys.key("first")


async def test_a_token_without_a_key_id_is_of_the_only_key(source):
    assert (await source.keys.key(None)).key_id == "first"
    source.issuer.keys.append(source.issuer.keys[0] | {"kid": "other"})
    source.time += FRESH
    await source.keys.key(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await source.keys.key(None) is None


def test_symmetric_and_encryption_keys_are_not_keys_of_signatures():
    key = Issuer().keys[0]
    others = [{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}, key | {"use": "enc", "kid": "b"}, {"kty": "new", "kid": "c"}]
    assert list(usable_keys({"keys": [*others, key]})) == ["first"]


def test_one_broken_key_leaves_the_others():
    key = Issuer().keys[0]
    assert list(usable_keys({"keys": [{"kty": "RSA", "kid": "broken"}, 5, key]})) == ["first"]


@pytest.mark.parametrize("odd", [{"alg": "none"}, {"kid": ["x"]}, {"alg": ["RS256"]}, {"kty": ["RSA"]}, {"kty": None}])
def test_one_odd_key_leaves_the_others_too(odd):
    key = Issuer().keys[0]
    assert "first" in usable_keys({"keys": [key | {"kid": "odd"} | odd, key]})


@pytest.mark.parametrize("document", [None, [], {}, {"keys": {}}, "keys"])
def test_what_is_no_jwk_set_is_refused(document):
    with pytest.raises(ValueError, match="no JWK Set"):
        usable_keys(document)


@pytest.fixture
async def site():
    """A server that answers with what a test puts into the list."""
    answers = []

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers[0])
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys", answers


async def test_the_document_is_fetched_over_http(site):
    url, answers = site
    answers.append(b'HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{"keys": []}')
    assert await fetch_over_http(url)() == {"keys": []}


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 302 Go\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno",
        b"HTTP/1.1 200 OK\r\n\r\n" + b" " * ((1 << 20) + 1),
    ],
    ids=["an error", "a redirect", "no JSON", "too much"],
)
async def test_anything_else_is_an_error_that_a_key_set_survives(site, answer):
    url, answers = site
    answers.append(answer)
    keys = KeySet(fetch_over_http(url), lambda: 0.0)
    with pytest.raises(KeysUnavailableError):
        await keys.key("first")
