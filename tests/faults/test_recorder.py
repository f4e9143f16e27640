"""What is read off the wire."""

from __future__ import annotations

import pytest

from activemq.frames import encode
from tests.faults.history import Acked, Delivered, Published, Receipt, Sent, Spoilt, Told
from tests.faults.recorder import BridgeRecorder, WorkerRecorder, sealed

NONCE = sealed("n-0a-1-1")
CONNECTED = encode("CONNECTED", [("version", "1.2")])
SUBSCRIBE = encode("SUBSCRIBE", [("id", "s1"), ("ack", "client-individual"), ("destination", "/queue/q")])
MESSAGE = encode(
    "MESSAGE",
    [("subscription", "s1"), ("ack", "a:1"), ("correlation-id", "c"), ("deadline_ms", "17")],
    f"{NONCE} echo".encode(),
)
CANCEL = encode("MESSAGE", [("subscription", "x"), ("destination", "/topic/bridge.cancel"), ("correlation-id", "c")])
REPLY = encode(
    "SEND",
    [("destination", "/remote-temp-queue/1"), ("correlation-id", "c"), ("receipt", "r1")],
    f"re {NONCE}".encode(),
)
RECEIPT = encode("RECEIPT", [("receipt-id", "r1")])
ACK = encode("ACK", [("id", "a:1")])


class Told_(list):  # noqa: N801 - what was told, without times
    def kinds(self):
        return [type(record) for record in self]


@pytest.fixture
def told():
    return Told_()


@pytest.fixture(params=[1, 7, 10_000])
def worker(request, told):
    """A worker's connection whose bytes come in pieces of some size."""
    recorder = WorkerRecorder("worker-1", told.append, 5)

    class Pieces:
        def client(self, data):
            self._feed(recorder.from_client, data)

        def broker(self, data):
            self._feed(recorder.from_broker, data)

        def _feed(self, feed, data):
            for at in range(0, len(data), request.param):
                feed(data[at : at + request.param])

    pieces = Pieces()
    pieces.recorder = recorder
    pieces.broker(CONNECTED)
    pieces.client(SUBSCRIBE)
    return pieces


def test_a_messages_way_is_written_down_in_its_order(worker, told):
    worker.broker(MESSAGE)
    assert worker.recorder.unacknowledged == 1
    worker.client(REPLY)
    worker.broker(RECEIPT)
    worker.client(ACK)
    assert worker.recorder.unacknowledged == 0
    assert told.kinds() == [Delivered, Sent, Receipt, Acked]
    delivered, sent, receipt, acked = told
    assert (delivered.nonce, delivered.correlation_id, delivered.deadline) == (NONCE, "c", 17)
    assert (sent.nonce, sent.receipt, sent.kind, sent.connection) == (NONCE, "r1", "reply", 5)
    assert (receipt.receipt, receipt.kind) == ("r1", "RECEIPT")
    assert (acked.seat, acked.ack) == (delivered.seat, delivered.ack)


def test_a_new_subscription_is_another_seat(worker, told):
    worker.broker(MESSAGE)
    worker.client(SUBSCRIBE)
    worker.broker(MESSAGE)
    first, second = told
    assert first.seat != second.seat


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ([("destination", "/remote-temp-queue/1")], "reply"),
        ([("destination", "/remote-temp-queue/1"), ("reply_kind", "final")], "reply"),
        ([("destination", "/remote-temp-queue/1"), ("reply_kind", "started")], "notice"),
        ([("destination", "/queue/q"), ("transaction", "t")], "copy"),
    ],
)
def test_what_a_worker_sends_is_a_reply_a_notice_or_a_copy(worker, told, headers, kind):
    worker.client(encode("SEND", [*headers, ("correlation-id", "c")], NONCE.encode()))
    assert [record.kind for record in told] == [kind]


def test_a_cancellation_and_a_refusal_are_seen(worker, told):
    worker.broker(CANCEL)
    worker.broker(encode("ERROR", [("receipt-id", "r1")]))
    assert told.kinds() == [Told, Receipt]
    assert (told[0].correlation_id, told[1].kind) == ("c", "ERROR")


def test_the_receipt_of_a_reply_is_told_and_no_other(worker):
    called = []
    worker.recorder.on_reply_receipt = lambda: called.append(1)
    worker.broker(encode("RECEIPT", [("receipt-id", "other")]))
    assert not called
    worker.client(REPLY)
    worker.broker(RECEIPT + RECEIPT)
    assert called == [1]


def test_nothing_is_read_after_it_was_spoilt(worker, told):
    worker.recorder.spoil()
    worker.recorder.spoil()
    worker.broker(MESSAGE)
    assert told.kinds() == [Spoilt]


def test_what_is_no_stomp_spoils_it(told):
    recorder = WorkerRecorder("worker-1", told.append, 5)
    recorder.from_broker(b"NONSENSE\n\n\0")
    recorder.from_broker(MESSAGE)
    assert told.kinds() == [Spoilt]


def test_what_a_bridge_publishes_is_seen_and_its_messages_are_counted(told):
    recorder = BridgeRecorder("bridge-1", told.append, 5)
    request = encode("SEND", [("destination", "/queue/q"), ("correlation-id", "c")], f"{NONCE} echo".encode())
    recorder.from_client(request + encode("SEND", [("destination", "/topic/x")]) + b"\n")
    recorder.from_broker(MESSAGE)
    assert told.kinds() == [Published]
    assert (told[0].nonce, told[0].correlation_id, recorder.messages) == (NONCE, "c", 1)
