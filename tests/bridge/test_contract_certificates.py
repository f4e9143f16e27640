"""Client certificates: whom they name, over HTTP/1.1 and HTTP/2 (Hypercorn)."""

from __future__ import annotations

import asyncio
import ssl
from hashlib import sha256

import httpx
import pytest
import pytest_asyncio
import trustme

from activemq.testing import FakeBroker
from bridge.settings import Caller, Route
from tests.bridge.harness import NO_STORE, ToldWorker, running, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "key of one without a certificate"
SUBJECT = "CN={},OU=web,O=Example"


class Certificates:
    """A bridge with client certificates, and callers with and without."""

    def __init__(self, folder):
        self.authority, self.other = trustme.CA(), trustme.CA()
        issued = self.authority.issue_cert("localhost", "127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        issued.private_key_pem.write_to_path(folder / "key.pem")
        self.authority.cert_pem.write_to_path(folder / "ca.pem")
        self.folder = folder

    def context(self, name=None, authority=None):
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if name is not None:
            issued = (authority or self.authority).issue_cert(
                "x@example.com", common_name=name, organization_name="Example", organization_unit_name="web"
            )
            issued.configure_cert(context)
        return context


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def secure(tmp_path_factory):
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    route = Route(name="words", path="/words", queue="words", async_="never", idempotency="off")
    callers = (
        Caller(name="shop", certificate_subject=SUBJECT.format("shop"), routes=("words",)),
        Caller(name="keyed", key_sha256=sha256(KEY.encode()).hexdigest(), routes=("words",)),
    )
    async with FakeBroker() as broker, ToldWorker(broker, "words") as worker:
        settings = settings_for(
            broker,
            [route],
            store=NO_STORE,
            http2=True,
            tls_certificate=made.folder / "cert.pem",
            tls_key=made.folder / "key.pem",
            client_ca=made.folder / "ca.pem",
        ).model_copy(update={"callers": callers})
        async with running(settings, "hypercorn") as bridge:
            yield bridge, worker, made


async def tls_call(secure, context, *, http2=False, headers=None):
    bridge, worker, _ = secure
    async with httpx.AsyncClient(verify=context, http2=http2, trust_env=False) as client:
        calling = asyncio.create_task(client.post(f"https://127.0.0.1:{bridge.port}/words", headers=headers or {}))
        taking = asyncio.create_task(worker.request("words"))
        await asyncio.wait([calling, taking], return_when=asyncio.FIRST_COMPLETED)
        caller = None
        if taking.done():
            caller = taking.result().get("caller")
            await worker.reply(taking.result())
        taking.cancel()
        return await calling, caller


@pytest.mark.parametrize("http2", [False, True])
async def test_a_client_certificate_names_its_caller(secure, http2):
    response, caller = await tls_call(secure, secure[2].context("shop"), http2=http2)
    assert (response.status_code, response.http_version, caller) == (200, "HTTP/2" if http2 else "HTTP/1.1", "shop")


async def test_a_certificate_of_nobody_is_401(secure):
    response, _ = await tls_call(secure, secure[2].context("nobody"))
    assert response.status_code == 401


async def test_without_a_certificate_a_key_will_do(secure):
    response, caller = await tls_call(secure, secure[2].context(), headers={"authorization": f"Bearer {KEY}"})
    assert (response.status_code, caller) == (200, "keyed")
    response, _ = await tls_call(secure, secure[2].context())
    assert response.status_code == 401


async def test_a_wrong_key_is_not_made_good_by_a_certificate(secure):
    response, _ = await tls_call(secure, secure[2].context("shop"), headers={"authorization": "Bearer wrong"})
    assert response.status_code == 401


async def test_a_certificate_of_another_authority_does_not_get_in(secure):
    with pytest.raises(httpx.TransportError):
        await tls_call(secure, secure[2].context("shop", secure[2].other))


@pytest.mark.parametrize(
    "headers",
    [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "https://evil.example"}],
)
async def test_a_page_of_another_site_may_not_use_the_browsers_certificate(secure, headers):
    response, _ = await tls_call(secure, secure[2].context("shop"), headers=headers)
    assert response.status_code == 403


@pytest.mark.parametrize("http2", [False, True])
async def test_a_certificate_is_its_own_connections_and_nobody_elses(secure, http2):
    _, _, made = secure
    shop, without = made.context("shop"), made.context()
    for _ in range(2):
        assert (await tls_call(secure, shop, http2=http2))[1] == "shop"
        assert (await tls_call(secure, without, http2=http2))[0].status_code == 401


async def test_two_connections_that_stay_open_keep_their_callers(secure):
    bridge, worker, made = secure
    url = f"https://127.0.0.1:{bridge.port}/words"
    async with (
        httpx.AsyncClient(verify=made.context("shop"), trust_env=False) as shop,
        httpx.AsyncClient(verify=made.context("nobody"), trust_env=False) as nobody,
    ):
        for _ in range(3):
            calling = asyncio.create_task(shop.post(url))
            message = await worker.request("words")
            assert message.get("caller") == "shop"
            await worker.reply(message)
            assert (await calling).status_code == 200
            assert (await nobody.post(url)).status_code == 401
