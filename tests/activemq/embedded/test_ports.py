from __future__ import annotations

import socket

import pytest

from activemq.embedded import ports


@pytest.fixture
def taken():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_on_which_something_listens_is_not_free(taken):
    assert not ports.is_free(taken)


def test_a_port_is_free_again_after_its_listener_closed():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
    assert ports.is_free(port)


def test_a_connection_that_lingers_does_not_make_a_port_taken():
    """The side that closes first is left in TIME_WAIT, as a broker that was just stopped is."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            server, _ = listener.accept()
            server.close()
            assert client.recv(1) == b""
    assert ports.is_free(port)


def test_a_chosen_port_is_below_the_ranges_of_outgoing_connections():
    for _ in range(20):
        port = ports.choose_free()
        assert 20_000 <= port <= 32_000
        assert ports.is_free(port)


def test_a_taken_port_and_the_other_connectors_are_not_chosen(monkeypatch, taken):
    drawn = iter([taken, 20_001, 20_002])
    monkeypatch.setattr(ports.random, "randint", lambda *_: next(drawn))
    monkeypatch.setattr(ports, "is_free", lambda port: port != taken)
    assert ports.choose_free(besides=20_001) == 20_002


def test_it_gives_up_in_the_end(monkeypatch):
    monkeypatch.setattr(ports, "is_free", lambda _port: False)
    with pytest.raises(OSError, match="no free port"):
        ports.choose_free()
