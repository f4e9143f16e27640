"""Listening sockets that several processes share: one port, sockets of their own, nobody else's."""

from __future__ import annotations

import socket
from collections import Counter
from contextlib import ExitStack

import pytest

from bridge.listening import BindError, listen, names, share


@pytest.fixture
def opened():
    with ExitStack() as stack:

        def keep(sockets):
            for sock in sockets:
                stack.callback(sock.close)
            return sockets

        yield keep


def shared(opened, addresses, number):
    places = share(addresses, number)
    for place in places:
        opened(place)
    return places


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "localhost:0"])
def test_port_0_is_the_same_free_port_for_all(opened, address):
    places = shared(opened, [address], 3)
    assert len({names(place)[0] for place in places}) == 1
    assert not names(places[0])[0].endswith(":0")


def test_each_process_has_a_socket_for_each_address(opened):
    places = shared(opened, ["127.0.0.1:0", "127.0.0.2:0"], 2)
    assert [len(place) for place in places] == [2, 2]
    assert len({sock.fileno() for place in places for sock in place}) == 4
    assert {sock.proto for place in places for sock in place} == {socket.IPPROTO_TCP}


def test_nothing_is_taken_before_a_process_listens(opened):
    ((sock,), _) = shared(opened, ["127.0.0.1:0"], 2)
    with socket.socket() as caller, pytest.raises(ConnectionRefusedError):
        caller.connect(sock.getsockname())


def test_connections_go_to_those_that_listen_and_to_each_of_them(opened):
    places = shared(opened, ["127.0.0.1:0"], 3)
    first, second, third = (place[0] for place in places)
    for sock in (first, second, third):
        sock.listen(256)
    second.shutdown(socket.SHUT_RD)  # its process has died
    assert took(opened, [first, third], 200) == 200
    second.listen(256)
    assert took(opened, [first, second, third], 200) == 200


def took(opened, sockets, number):
    for _ in range(number):
        (caller,) = opened([socket.socket()])
        caller.connect(sockets[0].getsockname())
    counts = Counter()
    for sock in sockets:
        while True:
            try:
                opened([sock.accept()[0]])
            except BlockingIOError:
                break
            counts[sock] += 1
    # Of 200 each has 67 or 100 on average; that one has none, by chance, does not happen.
    assert set(counts) == set(sockets)
    return counts.total()


@pytest.mark.parametrize("others", [lambda at: listen([at]), lambda at: listening(share([at], 2))], ids=["one", "many"])
def test_a_port_that_another_bridge_has_is_refused_and_named(opened, others):
    taken = opened(others("127.0.0.1:0"))
    (address, *_) = names(taken)
    for attempt in (lambda: share([address], 2), lambda: listen([address])):
        with pytest.raises(BindError, match=rf"{address}: Address already in use; is another bridge running"):
            attempt()


def listening(places):
    sockets = [sock for place in places for sock in place]
    for sock in sockets:
        sock.listen()
    return sockets


def test_a_second_address_that_is_taken_gives_the_first_back(opened):
    (taken,) = opened(listen(["127.0.0.1:0"]))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    with pytest.raises(BindError):
        share([f"127.0.0.1:{free}", names([taken])[0]], 2)
    opened(listen([f"127.0.0.1:{free}"]))


def test_other_systems_are_told_that_it_needs_linux(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(BindError, match="Linux"):
        share(["127.0.0.1:0"], 2)
