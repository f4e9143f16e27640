"""What a handler says before its reply: cut to what a frame holds, and checked before it is sent."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from activemq import Frame, RequestMessage
from activemq.errors import MessageError
from activemq.frames import CLIENT_COMMANDS
from activemq.message import encode_notice
from activemq.parser import Parser
from consumers.notices import MAX_PIECE, Notices, Unasked
from consumers.reply import BadReplyError

INJECTED = "x:1\ndestination2:/queue/other\nfoo"


class Told:
    """Stands for a delivery: keeps what would be sent."""

    def __init__(self, **headers: str) -> None:
        named = {name.replace("_to", "-to"): value for name, value in headers.items()}
        usual = {"reply-to": "/remote-temp-queue/ID:1", "message-id": "ID:2", "reply_kinds": "progress chunk"}
        self.message = RequestMessage(Frame.of("MESSAGE", usual | named))
        self.sent: list[Frame] = []
        self.told = 0

    def notify(self, data: bytes) -> None:
        self.sent += Parser(commands=CLIENT_COMMANDS).feed(data)

    async def drain(self) -> None:
        pass


def notices_of(told: Told, unasked: Unasked | None = None) -> Notices:
    return Notices(told, "q", unasked or Unasked())  # type: ignore[arg-type]  # all that it needs of a delivery


async def chunks(data: Any, content_type: str | None = None, status: Any = None, headers: Any = None, **message: str):
    told = Told(**message)
    await notices_of(told).chunk(data, content_type, status, headers)
    return told.sent


@pytest.mark.parametrize("size", [0, 1, MAX_PIECE - 1, MAX_PIECE, MAX_PIECE + 1, 2 * MAX_PIECE, 2 * MAX_PIECE + 1])
async def test_bytes_are_cut_into_pieces_that_everybody_takes(size):
    data = bytes(range(256)) * (size // 256 + 1)
    sent = await chunks(data[:size])
    assert b"".join(frame.body for frame in sent) == data[:size]
    assert len(sent) == max(1, -(-size // MAX_PIECE))
    assert [frame.get("sequence") for frame in sent] == [str(at) for at in range(1, len(sent) + 1)]


@pytest.mark.parametrize("character", ["é", "中", "😀"])
@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
async def test_text_is_not_cut_within_a_character(character, before):
    data = before + character * MAX_PIECE
    sent = await chunks(data)
    assert "".join(frame.body.decode() for frame in sent) == data
    assert all(len(frame.body) <= MAX_PIECE for frame in sent)


async def test_text_is_cut_even_where_the_limit_is_less_than_a_character():
    sent = await chunks("😀x", max_reply="2")
    assert b"".join(frame.body for frame in sent) == "😀x".encode()


async def test_the_head_goes_with_the_first_piece():
    sent = await chunks(b"x" * (MAX_PIECE + 1), "text/csv", 203, {"x-a": "1"})
    assert [frame.get("http_status") for frame in sent] == ["203", None]
    assert [frame.get("http_header_x_a") for frame in sent] == ["1", None]
    assert [frame.get("content_type") for frame in sent] == ["text/csv", "text/csv"]


@pytest.mark.parametrize("size", [99, 100, 101])
async def test_json_is_not_cut_but_refused_over_the_limit_of_a_reply(size):
    value = ["x" * (size - 4)]
    if size > 100:
        with pytest.raises(BadReplyError, match="a chunk of JSON of 101 bytes, over the limit of 100"):
            await chunks(value, max_reply="100")
    else:
        assert [len(frame.body) for frame in await chunks(value, max_reply="100")] == [size]


@pytest.mark.parametrize(
    ("status", "headers"),
    [(None, {INJECTED: "bar"}), (None, {"x": "a\nb"}), (None, {"x": "v" * 9_000}), (99, None), ("200\nx:1", None)],
)
async def test_a_head_that_cannot_be_sent_is_refused_with_nothing_sent(status, headers):
    with pytest.raises(BadReplyError):
        await chunks(b"x", None, status, headers)


@pytest.mark.parametrize("headers", [{"reply_kinds": "started"}, {"reply_to": "/temp-queue/"}])
async def test_nobody_is_told_who_did_not_ask_or_cannot_be(headers):
    assert await chunks(b"x", **headers) == []


def test_what_nobody_asked_for_is_said_once_for_each_queue(caplog):
    caplog.set_level(logging.INFO, "consumers.notices")
    unasked, told = Unasked(), Told(reply_kinds="started")
    for queue in ("a", "b", "a"):
        assert not Notices(told, queue, unasked).wanted("progress")  # type: ignore[arg-type]  # as above
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == [
        "queue a: progress is not sent",
        "queue b: progress is not sent",
    ]
    assert "`stream = true`" in caplog.text


def test_nothing_is_said_where_it_was_asked_for(caplog):
    caplog.set_level(logging.INFO, "consumers.notices")
    assert notices_of(Told()).wanted("progress")
    assert caplog.text == ""


def test_a_notice_s_property_needs_a_name_that_is_one():
    with pytest.raises(MessageError, match="is not the name of a property"):
        encode_notice(Told().message, "chunk", 1, [(INJECTED, "bar")])
