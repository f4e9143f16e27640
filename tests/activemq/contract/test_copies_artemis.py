"""A copy in the place of a message, where no transaction holds the ACK: whoever makes it again does no harm."""

from __future__ import annotations

import pytest

from activemq.errors import ConnectionLostError
from activemq.frames import encode


@pytest.fixture
def artemis(brokers, target_of):
    return target_of(brokers.get("artemis"))


async def lose(client) -> None:
    """Kill a worker's connection for good."""
    client._supervising.cancel()
    client._connection.abort(ConnectionLostError("the test's will"))


@pytest.mark.parametrize("persistent", ["true", "false"])
async def test_a_copy_whose_ack_was_lost_is_there_once(artemis, join, inbox, send, queue: str, persistent: str) -> None:
    first, second, reader = [await join(artemis) for _ in range(3)]
    taken = inbox(first, lambda p: p.consume(queue))
    await send(first, f"/queue/{queue}", b"original", persistent=persistent, correlation_id="c")

    def copy(extra):
        return encode("SEND", [("destination", f"/queue/{queue}.copies"), ("persistent", persistent), *extra], b"copy")

    frame = await taken.next()
    data = copy([*first.profile.once(frame, "2"), ("receipt", "copy")])
    await first.request_receipt(data, "copy", timeout=20)
    await lose(first)  # after the copy, before the ACK
    again = await inbox(second, lambda p: p.consume(queue)).next()
    assert again.get("redelivered") == "true"
    await second.move(again, 1, copy, "2")
    copies = inbox(reader, lambda p: {**p.consume(f"{queue}.copies", 64)})
    await send(reader, f"/queue/{queue}.copies", b"last")
    assert [(await copies.next()).body, (await copies.next()).body] == [b"copy", b"last"]


async def test_copies_of_two_messages_with_one_correlation_id_are_both_there(
    artemis, join, inbox, send, queue: str
) -> None:
    worker = await join(artemis)
    work = inbox(worker, lambda p: p.consume(queue))
    for body in (b"one", b"other"):
        await send(worker, f"/queue/{queue}", body, correlation_id="the same")
        frame = await work.next()

        def copy(extra, body=body):
            return encode("SEND", [("destination", f"/queue/{queue}.copies"), *extra], body)

        await worker.move(frame, 1, copy, "2")
    copies = inbox(worker, lambda p: p.consume(f"{queue}.copies", 64))
    assert [(await copies.next()).body, (await copies.next()).body] == [b"one", b"other"]
