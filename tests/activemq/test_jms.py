"""Messages of JMS clients: the head lines are those that Classic 6.3.1 and Artemis 2.57 wrote."""

from __future__ import annotations

import pytest

from activemq.frames import Frame
from activemq.jms import unreadable

BY_OPENWIRE = "ID:vm-45079-1795338476088-1:1:1:1:1"
BY_STOMP = "ID:vm-44685-1795336833266-3:2:-1:1:1"
CORE = {"message-id": "49,72", "kind": "map", "__AMQ_CID": "da063d7e-e650-11f1-9027-02fc00000001"}


def message(body=b"", **headers):
    return Frame.of("MESSAGE", {"subscription": "1", **headers}, body)


def by(message_id, body=b"", **headers):
    return message(body, **{"message-id": message_id, **headers})


@pytest.mark.parametrize("session", ["1", "2", "10"])
def test_an_empty_text_of_an_openwire_client_can_be_a_map(session):
    assert unreadable(by(f"ID:host-with-dashes.example-45079-1795338476088-1:1:{session}:1:99"))


@pytest.mark.parametrize(
    "message_id",
    [
        BY_STOMP,
        "ID:fake-1:7",  # FakeBroker's
        "T_sub@@session-wQGRbnVHtXdJg@@1",  # RabbitMQ's
        "49,72",  # Artemis', of a STOMP client
        "",
    ],
)
def test_an_empty_text_of_a_stomp_client_is_empty(message_id):
    assert not unreadable(by(message_id))


def test_a_message_without_an_id_is_nobodys():
    assert not unreadable(message())


def test_bytes_can_be_empty():
    assert not unreadable(by(BY_OPENWIRE, **{"content-length": "0"}))


@pytest.mark.parametrize("body", [b"text", b"\0\x01"])
def test_what_has_a_body_is_readable_on_classic(body):
    assert not unreadable(by(BY_OPENWIRE, body))
    assert not unreadable(by(BY_OPENWIRE, body, **{"content-length": "2"}))


def test_an_empty_text_of_a_core_client_can_be_an_object():
    assert unreadable(message(**CORE))


def test_a_map_of_a_core_client_is_read_as_a_text_that_begins_with_a_nul():
    assert unreadable(message(b"\0\xc8\x80", **CORE, **{"content-length": "3"}))


def test_bytes_of_a_core_client_may_begin_with_a_nul():
    assert not unreadable(message(b"\0\xc8\x80", **{"content-length": "3"}, **CORE))


def test_a_text_of_a_core_client_is_readable():
    assert not unreadable(message("héllo".encode(), **CORE, **{"content-length": "6"}))


def test_a_text_of_a_stomp_client_may_begin_with_a_nul_on_artemis():
    assert not unreadable(by("49,72", b"\0a", **{"content-length": "2"}))
