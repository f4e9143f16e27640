"""The same frames to a real ActiveMQ and to FakeBroker: the same answers."""

import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from activemq.frames import Frame
from activemq.testing import FakeBroker

SLOT = {"ack": "client-individual", "activemq.prefetchSize": 1}
MASKED = {"ack", "message-id", "timestamp", "session"}  # there, and each broker's own


@dataclass
class Script:
    """Sends frames over some connections, and notes what came back."""

    connect: Callable[[], Awaitable]
    queue: str
    notes: list[object] = field(default_factory=list)

    def note(self, frame: Frame) -> Frame:
        headers = {name: "…" if name in MASKED else self._plain(value) for name, value in frame.headers.items()}
        headers.pop("receipt-id", None)
        body = b"" if frame.command == "ERROR" else frame.body  # Classic has a stack trace there
        self.notes.append((frame.command, headers, body))
        return frame

    def _plain(self, value: str) -> str:
        return re.sub(r"ID:\S+", "ID:…", value.replace(self.queue, "QUEUE"))

    async def do(self, wire, command: str, body: bytes = b"", /, **headers: object) -> Frame:
        """One frame, and the RECEIPT or ERROR for it."""
        return self.note(await wire.done(command, body, **headers))

    async def get(self, wire) -> Frame:
        """The next frame that a connection is sent."""
        return self.note(await wire.frame())

    async def gone(self, wire) -> None:
        """The connection was closed."""
        await wire.eof()
        self.notes.append("gone")


SCENARIOS: dict[str, Callable[[Script], Awaitable[None]]] = {}


def scenario(function: Callable[[Script], Awaitable[None]]) -> None:
    SCENARIOS[function.__name__.replace("_", " ")] = function


@scenario
async def text_and_bytes(s: Script) -> None:
    wire = await s.connect()
    await s.do(wire, "SEND", "é\U0001f600".encode(), destination=f"/queue/{s.queue}", colour="a:b\\c\n\r", type="t")
    await s.do(wire, "SEND", b"a\0b", destination=f"/queue/{s.queue}", content_length=3, priority=4)
    await s.do(wire, "SEND", b"abc", destination=s.queue, content_length=3, amq_msg_type="text")
    await s.do(wire, "SEND", b"abc", destination=s.queue, amq_msg_type="bytes", correlation_id="c", expires="0")
    await s.do(wire, "SEND", b"\xff", destination=s.queue)
    await s.do(wire, "SEND", b"abc", destination=s.queue, amq_msg_type="no-such")
    await s.do(wire, "SUBSCRIBE", id_="s", destination=s.queue)
    for _ in range(5):
        await s.get(wire)


@scenario
async def a_persistent_message(s: Script) -> None:
    wire = await s.connect()
    await s.do(wire, "SEND", b"x", destination=f"/queue/{s.queue}", persistent="true")
    await s.do(wire, "SUBSCRIBE", id_="s", destination=s.queue)
    await s.get(wire)


@scenario
async def priority_and_prefetch(s: Script) -> None:
    wire = await s.connect()
    for number, priority in enumerate((4, 9, 0, 9)):
        await s.do(wire, "SEND", b"%d" % number, destination=f"/queue/{s.queue}", priority=priority)
    await s.do(wire, "SUBSCRIBE", id_="s", destination=f"/queue/{s.queue}", **SLOT)
    for _ in range(4):
        frame = await s.get(wire)
        await s.do(wire, "ACK", id_=frame.get("ack"))
    await s.do(wire, "ACK", id_=frame.get("ack"))


@scenario
async def acknowledging_in_lots(s: Script) -> None:
    wire, other = await s.connect(), await s.connect()
    lots = {"ack": "client", "activemq.prefetchSize": 3}
    await s.do(wire, "SUBSCRIBE", id_="s", destination=f"/queue/{s.queue}", **lots)
    for number in range(3):
        await s.do(other, "SEND", b"%d" % number, destination=f"/queue/{s.queue}")
    frames = [await s.get(wire) for _ in range(3)]
    await s.do(wire, "ACK", id_=frames[1].get("ack"))
    await wire.close()
    await s.do(other, "SUBSCRIBE", id_="s", destination=f"/queue/{s.queue}", **SLOT)
    await s.get(other)


@scenario
async def a_message_comes_again(s: Script) -> None:
    wire, other = await s.connect(), await s.connect()
    await s.do(wire, "SEND", b"x", destination=f"/queue/{s.queue}")
    await s.do(wire, "SUBSCRIBE", id_="s", destination=f"/queue/{s.queue}", **SLOT)
    await s.get(wire)
    await s.do(wire, "UNSUBSCRIBE", id_="s")
    await s.do(wire, "SUBSCRIBE", id_="s", destination=f"/queue/{s.queue}", **SLOT)
    await s.get(wire)
    await s.do(other, "SUBSCRIBE", id_="o", destination=f"/queue/{s.queue}", **SLOT)
    await wire.close()
    frame = await s.get(other)
    await s.do(other, "ACK", id_=frame.get("ack"))


@scenario
async def temporary_queues(s: Script) -> None:
    asker, worker = await s.connect(), await s.connect()
    await s.do(asker, "SUBSCRIBE", id_="r", destination="/temp-queue/r")
    await s.do(worker, "SUBSCRIBE", id_="w", destination=f"/queue/{s.queue}")
    await s.do(asker, "SEND", b"?", destination=f"/queue/{s.queue}", reply_to="/temp-queue/r", correlation_id="c")
    request = await s.get(worker)
    await s.do(worker, "SEND", b"!", destination=request.get("reply-to"), correlation_id="c")
    await s.get(asker)
    await s.do(worker, "SUBSCRIBE", id_="x", destination=request.get("reply-to"))
    await asker.close()
    while (await worker.done("SEND", b"late", destination=request.get("reply-to"))).command != "ERROR":
        pass  # the broker has not noticed yet
    await s.do(worker, "SEND", b"late", destination=request.get("reply-to"))
    await s.do(worker, "SEND", b"well", destination=f"/queue/{s.queue}")
    await s.get(worker)


@scenario
async def reply_addresses_of_other_kinds(s: Script) -> None:
    wire = await s.connect()
    for reply_to in ("/queue/answers", "/topic/answers", "whatever"):
        await s.do(wire, "SEND", destination=f"/queue/{s.queue}", reply_to=reply_to)
    await s.do(wire, "SUBSCRIBE", id_="s", destination=f"/queue/{s.queue}")
    for _ in range(3):
        await s.get(wire)


@scenario
async def expiry_and_stamps(s: Script) -> None:
    wire = await s.connect()
    await s.do(wire, "SEND", b"past", destination=f"/queue/{s.queue}", expires=1)
    await s.do(wire, "SEND", b"stamped", destination=f"/queue/{s.queue}", expires=9_999_999_999_999, timestamp=5)
    await s.do(wire, "SUBSCRIBE", id_="s", destination=f"/queue/{s.queue}")
    s.notes.append((await s.get(wire)).get("timestamp"))


@scenario
async def transactions(s: Script) -> None:
    wire = await s.connect()
    await s.do(wire, "SEND", b"in", destination=f"/queue/{s.queue}")
    await s.do(wire, "SUBSCRIBE", id_="s", destination=f"/queue/{s.queue}", **SLOT)
    frame = await s.get(wire)
    for end in ("ABORT", "COMMIT"):
        await s.do(wire, "BEGIN", transaction="t")
        await s.do(wire, "BEGIN", transaction="t")
        await s.do(wire, "SEND", b"out", destination=f"/queue/{s.queue}.out", transaction="t")
        await s.do(wire, "ACK", id_=frame.get("ack"), transaction="t")
        await s.do(wire, end, transaction="t")
    await s.do(wire, "SUBSCRIBE", id_="o", destination=f"/queue/{s.queue}.out")
    await s.get(wire)
    await s.do(wire, "COMMIT", transaction="t")
    await s.do(wire, "SEND", b"out", destination=f"/queue/{s.queue}", transaction="no")


async def refused_in_a_transaction(s: Script, receipt: dict[str, str]) -> None:
    wire, other = await s.connect(), await s.connect()
    await s.do(wire, "SUBSCRIBE", id_="s", destination=f"/queue/{s.queue}", **SLOT)
    await s.do(other, "SEND", b"in", destination=f"/queue/{s.queue}", persistent="true")
    frame = await s.get(wire)
    await s.do(wire, "BEGIN", transaction="t")
    wire.send("SEND", b"out", destination="/topic/elsewhere", transaction="t", **receipt)
    await s.get(wire)
    await s.do(wire, "ACK", id_=frame.get("ack"), transaction="t")
    await s.do(wire, "COMMIT", transaction="t")
    await s.do(wire, "ACK", id_=frame.get("ack"))
    await s.do(wire, "UNSUBSCRIBE", id_="s")
    await s.do(other, "SUBSCRIBE", id_="o", destination=f"/queue/{s.queue}")
    await s.do(other, "SEND", b"second", destination=f"/queue/{s.queue}", persistent="true")
    await s.get(other)
    await wire.close()
    if not receipt:
        await s.get(other)  # only now


@scenario
async def a_refused_send_in_a_transaction_strands_the_message(s: Script) -> None:
    await refused_in_a_transaction(s, {})


@scenario
async def a_refused_send_with_a_receipt_in_a_transaction_loses_the_message(s: Script) -> None:
    await refused_in_a_transaction(s, {"receipt": "mine"})


@scenario
async def what_is_refused(s: Script) -> None:
    wire = await s.connect()
    await s.do(wire, "SEND", b"x")
    await s.do(wire, "SUBSCRIBE", id_="1")
    await s.do(wire, "SUBSCRIBE", destination=f"/queue/{s.queue}")
    await s.do(wire, "UNSUBSCRIBE", id_="no")
    await s.do(wire, "ACK", id_="no")
    await s.do(wire, "SEND", b"x", destination=f"/queue/{s.queue}")


@scenario
async def what_ends_a_connection_without_a_word(s: Script) -> None:
    for header in ({"expires": "abc"}, {"priority": "x"}, {"destination": "/queue/"}, {"destination": ""}):
        wire = await s.connect()
        wire.send("SEND", b"x", **{"destination": f"/queue/{s.queue}", **header})
        await s.gone(wire)


@scenario
async def a_topic(s: Script) -> None:
    one, other = await s.connect(), await s.connect()
    await s.do(one, "SUBSCRIBE", id_="1", destination=f"/topic/bridge.{s.queue}")
    await s.do(one, "SEND", b"first", destination=f"/topic/bridge.{s.queue}")
    await s.get(one)
    await s.do(other, "SUBSCRIBE", id_="1", destination=f"/topic/bridge.{s.queue}")
    await s.do(one, "SEND", b"second", destination=f"/topic/bridge.{s.queue}")
    await s.get(one)
    await s.get(other)


@scenario
async def a_good_bye(s: Script) -> None:
    wire = await s.connect()
    await s.do(wire, "DISCONNECT")
    await s.gone(wire)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_fakebroker_answers_as_classic_does(name: str, fake: FakeBroker, connect, broker) -> None:
    async def connect_to_real():
        return await connect(broker.stomp_port, login=broker.login, passcode=broker.passcode)

    fake.refuse("/topic/elsewhere", f"User {broker.login} is not authorized to write to: topic://elsewhere")
    transcripts = []
    for connecting in (connect_to_real, connect):
        script = Script(connecting, f"contract.{uuid.uuid4().hex}")
        await SCENARIOS[name](script)
        transcripts.append(script.notes)
    real, faked = transcripts
    assert faked == real
    assert len(real) > 1
