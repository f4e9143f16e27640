"""Which HTTP server runs, where it listens, and that TLS works on both."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl

import httpx
import pytest
import trustme

from activemq.testing import FakeBroker
from bridge import listening, server
from bridge.settings import Route
from bridge.settings import Server as ServerSettings
from tests.bridge.harness import ToldWorker, running, settings_for

# -- which


@pytest.mark.parametrize(
    ("options", "installed", "expected"),
    [
        ({}, {"uvicorn", "httptools"}, "uvicorn"),
        ({}, {"uvicorn"}, "hypercorn"),
        ({}, {"httptools"}, "hypercorn"),
        ({}, set(), "hypercorn"),
        ({"http2": True}, {"uvicorn", "httptools"}, "hypercorn"),
        ({"client_ca": __file__}, {"uvicorn", "httptools"}, "hypercorn"),
        ({"implementation": "hypercorn"}, {"uvicorn", "httptools"}, "hypercorn"),
        ({"implementation": "uvicorn"}, {"uvicorn", "httptools"}, "uvicorn"),
    ],
)
def test_the_server_is_chosen_by_what_is_asked_for_and_installed(monkeypatch, options, installed, expected):
    monkeypatch.setattr(server, "find_spec", lambda name: name if name in installed else None)
    implementation, why = server.choose(ServerSettings.model_construct(**{"client_ca": None, **options}))
    assert implementation == expected
    assert why


# -- where


def closed(sockets):
    for sock in sockets:
        sock.close()
    return sockets


def test_it_listens_on_all_addresses_and_answers_are_not_held_back():
    sockets = server.listen(["127.0.0.1:0", "localhost:0", "[::1]:0"])
    try:
        assert [sock.family for sock in sockets] == [socket.AF_INET, socket.AF_INET, socket.AF_INET6]
        # asyncio sets TCP_NODELAY only where the socket says that it is TCP.
        assert {sock.proto for sock in sockets} == {socket.IPPROTO_TCP}
    finally:
        closed(sockets)


def test_an_address_in_use_is_named_and_the_others_are_given_back():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        free = socket.socket()
        free.bind(("127.0.0.1", 0))
        other = free.getsockname()[1]
        free.close()
        with pytest.raises(
            listening.BindError, match=rf"127\.0\.0\.1:{port}: Address already in use; is another bridge"
        ):
            server.listen([f"127.0.0.1:{other}", f"127.0.0.1:{port}"])
        closed(server.listen([f"127.0.0.1:{other}"]))


def test_an_address_that_is_not_this_machines_is_named():
    with pytest.raises(listening.BindError, match=r"192\.0\.2\.1:8080"):
        server.listen(["192.0.2.1:8080"])


@pytest.fixture
def collector():
    """A bridge that is ready tunes the garbage collector of its process."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


async def test_the_ready_line_has_the_addresses_and_comes_when_the_broker_is_there(implementation, collector):
    broker = FakeBroker()
    await broker.start()
    await broker.stop()
    ready, stop = asyncio.Event(), asyncio.Event()
    told = []
    settings = settings_for(broker, [], bind=("127.0.0.1:0", "[::1]:0"))
    serving = asyncio.create_task(
        server.serve(settings, implementation, lambda addresses: (told.extend(addresses), ready.set()), stop)
    )
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ready.wait(), 0.2)  # nothing to poll for: it must not come
    await broker.start()
    await asyncio.wait_for(ready.wait(), 20)
    async with httpx.AsyncClient() as client:
        for address, expected in zip(told, ["http://127.0.0.1:", "http://[::1]:"], strict=True):
            assert address.startswith(expected)
            assert (await client.get(f"{address}/-/ready")).status_code == 200
    stop.set()
    assert await serving == 0
    await broker.stop()


# -- TLS


async def test_over_tls_calls_are_served_as_without(implementation, tmp_path):
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    for number, part in enumerate(issued.cert_chain_pems):
        part.write_to_path(tmp_path / "chain.pem", append=number > 0)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    route = Route(name="echo", path="/echo", queue="echo", timeout=15.0)
    async with FakeBroker() as broker, ToldWorker(broker, "echo") as worker:
        settings = settings_for(broker, [route], tls_certificate=tmp_path / "chain.pem", tls_key=tmp_path / "key.pem")
        async with running(settings, implementation) as bridge, httpx.AsyncClient(verify=context) as client:
            calling = asyncio.create_task(client.post(f"https://localhost:{bridge.port}/echo", content=b"secret"))
            message = await worker.request("echo")
            await worker.reply(message, message.body * 2)
            assert (await calling).content == b"secretsecret"
            leaving = asyncio.create_task(client.post(f"https://localhost:{bridge.port}/echo"))
            await worker.request("echo")
            await bridge.held(1)
            leaving.cancel()
            await asyncio.wait([leaving])
            await bridge.at_rest()
