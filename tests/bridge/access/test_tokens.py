"""Which tokens are taken (RFC 8725 is the list of what must not be)."""

from __future__ import annotations

import base64
import hmac
import json
import time

import jwt
import pytest

from bridge.access.jwks import KeySet
from bridge.access.tokens import LEEWAY, MAX_NAME, MAX_TOKEN, Tokens
from bridge.problems import Problem
from bridge.settings import Jwt
from tests.bridge.access.issuer import AUDIENCE, ISSUER, Issuer, private_key


class World:
    """An issuer and a bridge that takes its tokens."""

    def __init__(self, algorithm="ES256", **settings):
        self.issuer = Issuer(algorithm)
        self.time = 1_000.0
        rules = Jwt(**{"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": "https://login.example/keys", **settings})
        self.tokens = Tokens(rules, KeySet(self.fetch, lambda: self.time))

    async def fetch(self):
        return self.issuer.document

    async def refusal(self, token):
        with pytest.raises(Problem) as caught:
            await self.tokens.name(token)
        return caught.value


@pytest.fixture
def world():
    return World()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_token_of_the_issuer_names_its_subject(algorithm):
    world = World(algorithm)
    assert await world.tokens.name(world.issuer.token("ann")) == "ann"


def without_alg(world):
    for key in world.issuer.keys:
        del key["alg"]


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS512", "ES256", "EdDSA"])
async def test_a_key_that_names_no_algorithm_is_for_those_of_its_kind_that_the_settings_take(algorithm):
    world = World("RS256" if algorithm[1:2] == "S" and algorithm != "ES256" else algorithm, algorithms=[algorithm])
    without_alg(world)
    world.issuer.algorithm = algorithm
    assert await world.tokens.name(world.issuer.token("ann")) == "ann"


@pytest.mark.parametrize("bare", [True, False])
async def test_a_key_without_an_algorithm_does_not_open_others_than_the_settings(bare):
    world = World("RS256", algorithms=["RS256"])
    if bare:
        without_alg(world)
    world.issuer.algorithm = "RS512"
    assert (await world.refusal(world.issuer.token("ann"))).name == "unauthenticated"


async def test_a_key_that_names_its_algorithm_is_for_no_other():
    world = World("RS256", algorithms=["RS256", "RS512"])
    world.issuer.algorithm = "RS512"
    assert (await world.refusal(world.issuer.token("ann"))).name == "unauthenticated"


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
async def test_a_token_of_another_kind_than_its_key_is_refused(algorithm, bare):
    """With a key id that everybody can read, and a signature of one's own."""
    world = World("RS256")
    if bare:
        without_alg(world)
    token = Issuer(algorithm, world.issuer.key_id).token()
    assert (await world.refusal(token)).name == "unauthenticated"


async def test_another_claim_may_name_the_caller():
    world = World(claim="client_id")
    assert await world.tokens.name(world.issuer.token("ann", client_id="shop")) == "shop"


def _without_signature(token):
    _, payload, _ = token.split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": "first"}).encode()).rstrip(b"=").decode()
    return f"{none}.{payload}."


def _signed_with_the_public_key(world, token):
    """Make the classic confusion: HMAC with what everybody knows."""
    public = json.dumps(world.issuer.keys[0]).encode()
    head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "first"}).encode()).rstrip(b"=").decode()
    signed = f"{head}.{token.split('.')[1]}"
    signature = base64.urlsafe_b64encode(hmac.digest(public, signed.encode(), "sha256")).rstrip(b"=").decode()
    return f"{signed}.{signature}"


def _with_another_key(world, token):
    payload = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(payload, private_key("ES256"), algorithm="ES256", headers={"kid": "first"})


def _that_brings_its_key(world, token):
    other = Issuer("ES256", "first")
    head = {"jwk": other.keys[0], "jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/cert"}
    return other.token(headers=head)


def _changed(world, token):
    head, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "==")) | {"sub": "root"}
    return f"{head}.{base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b'=').decode()}.{signature}"


@pytest.mark.parametrize(
    "forge",
    [
        lambda _, token: _without_signature(token),
        _signed_with_the_public_key,
        _with_another_key,
        _that_brings_its_key,
        _changed,
        lambda world, token: token[:-4],
        lambda world, token: "a.b.c",
        lambda world, token: "..",
        lambda world, token: token + "\x80",
    ],
    ids=["no algorithm", "HMAC", "another key", "its own key", "changed", "cut", "rubbish", "dots", "no ASCII"],
)
async def test_a_forged_token_is_refused(world, forge):
    problem = await world.refusal(forge(world, world.issuer.token()))
    assert problem.name == "unauthenticated"
    assert dict(problem.headers) == {b"www-authenticate": b"Bearer"}


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "somebody else"},
        {"aud": None},
        {"exp": None},
        {"exp": "tomorrow"},
        {"sub": None},
        {"nbf": int(time.time()) + 3_600},
    ],
    ids=str,
)
async def test_a_token_that_is_not_for_us_or_not_of_now_is_refused(world, claims):
    assert (await world.refusal(world.issuer.token(**claims))).name == "unauthenticated"


async def test_a_token_has_ten_seconds_for_the_difference_of_clocks(world):
    now = time.time()
    assert await world.tokens.name(world.issuer.token(exp=now - LEEWAY / 2)) == "ann"
    problem = await world.refusal(world.issuer.token(exp=now - LEEWAY - 5))
    assert "expired" in problem.detail


async def test_an_algorithm_that_the_settings_do_not_name_is_refused():
    world = World("ES256", algorithms=("RS256",))
    assert (await world.refusal(world.issuer.token())).name == "unauthenticated"


@pytest.mark.parametrize("length", [1, MAX_NAME])
async def test_a_name_may_be_as_long_as_the_store_takes(world, length):
    assert await world.tokens.name(world.issuer.token("a" * length)) == "a" * length


@pytest.mark.parametrize("subject", ["", "a" * (MAX_NAME + 1), "a\nb", "a\x00", 5, ["a"]])
async def test_what_is_no_name_is_refused(world, subject):
    assert (await world.refusal(world.issuer.token(subject))).name == "unauthenticated"


async def test_a_token_is_bounded_before_anything_is_done_with_it(world):
    problem = await world.refusal("a" * (MAX_TOKEN + 1))
    assert "too long" in problem.detail


async def test_what_a_token_holds_is_never_told(world):
    token = world.issuer.token("secret name", iss="https://secret.example")
    problem = await world.refusal(token)
    assert "secret" not in str(problem)
    assert token not in str(problem)


async def test_without_the_issuers_keys_the_answer_is_to_come_back(world):
    async def fails():
        raise OSError

    tokens = Tokens(world.tokens.settings, KeySet(fails, lambda: 0.0))
    with pytest.raises(Problem) as caught:
        await tokens.name(world.issuer.token())
    assert caught.value.name == "keys-unavailable"
