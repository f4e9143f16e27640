"""The sample workers."""

from __future__ import annotations

import asyncio
import io
import json
import os
import struct
import sys
import zlib
from datetime import datetime

import pytest
from PIL import Image

from activemq import Clock, Frame, RequestMessage
from activemq.testing import FakeBroker
from consumers import Reply, Request
from consumers.demo import worker
from consumers.demo.samples import batches, flaky, slow, texts, thumbnails
from tests.consumers.harness import Requester, new_client, running


def request_of(body: bytes = b"", **headers: str) -> Request:
    return Request(RequestMessage(Frame.of("MESSAGE", {"correlation-id": "c1"} | headers, body)), Clock())


def image_of(kind: str, size: tuple[int, int], mode: str = "RGB", **options) -> bytes:
    data = io.BytesIO()
    Image.new(mode, size, 100).save(data, kind, **options)
    return data.getvalue()


def test_the_queues_are_those_of_the_demos_routes():
    assert worker.queues == ("demo.texts", "demo.thumbnails", "demo.flaky", "demo.slow", "demo.batches")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("The cat, the hat; the 3 cats.\nDon't!", "text/plain"),
        (json.dumps({"text": "The cat, the hat; the 3 cats.\nDon't!"}), "application/json"),
        (json.dumps("The cat, the hat; the 3 cats.\nDon't!"), "application/json; charset=utf-8"),
    ],
)
async def test_a_text_is_analysed(body, content_type):
    analysis = json.loads(Reply.of(await texts(request_of(body.encode(), content_type=content_type))).body)
    assert analysis == {
        "words": 7,
        "characters": 36,
        "lines": 2,
        "most_frequent": {"the": 3, "cat": 1, "hat": 1, "cats": 1, "don't": 1},
    }


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"\xff", "text/plain"),
        (b"{", "application/json"),
        (b'{"words": 1}', "application/json"),
        (b'{"text": 1}', "application/json"),
    ],
)
async def test_a_body_without_a_text_is_the_callers_fault(body, content_type):
    assert (await texts(request_of(body, content_type=content_type))).status == 422


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(("size", "fits"), [("160", (160, 120)), ("1", (1, 1)), ("1024", (640, 480))])
def test_an_image_is_scaled_down_and_never_up(kind, size, fits):
    reply = thumbnails(request_of(image_of(kind, (640, 480)), path_size=size))
    assert (reply.status, reply.content_type) == (200, f"image/{kind.lower()}")
    with Image.open(io.BytesIO(reply.body)) as small:
        assert (small.format, small.size) == (kind, fits)


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGBA"), ("PNG", "P"), ("PNG", "1"), ("JPEG", "L"), ("JPEG", "CMYK")]
)
def test_every_mode_of_image_is_taken(kind, mode):
    reply = thumbnails(request_of(image_of(kind, (64, 64), mode), path_size="8"))
    assert reply.content_type == f"image/{kind.lower()}"


def test_an_image_that_lies_on_its_side_is_turned():
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: rotate by 90 degrees
    reply = thumbnails(request_of(image_of("JPEG", (400, 200), exif=exif), path_size="100"))
    with Image.open(io.BytesIO(reply.body)) as small:
        assert small.size == (50, 100)


def claimed(width: int, height: int) -> bytes:
    """A PNG that says to be that large."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no image",
        image_of("GIF", (8, 8), "P"),
        image_of("JPEG", (64, 64))[:200],
        image_of("PNG", (64, 64))[:60],
        claimed(10_000, 5_001),
        claimed(10_000, 10_000),
        claimed(60_000, 60_000),
    ],
    ids=["empty", "text", "gif", "half a jpeg", "half a png", "50 million pixels", "100 million", "3600 million"],
)
def test_what_is_no_image_or_a_bomb_is_the_callers_fault(body):
    assert thumbnails(request_of(body, path_size="8")).status == 422


@pytest.mark.parametrize("size", ["0", "1025", "-1", "x", "", "99999", "²"])
def test_a_size_that_is_none_is_the_callers_fault(size):
    assert thumbnails(request_of(image_of("PNG", (8, 8)), path_size=size)).status == 422


def test_without_pillow_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(RuntimeError, match=r"pip install '\.\[demo\]'"):
        thumbnails(request_of(b"x", path_size="8"))


async def test_the_flaky_one_fails():
    with pytest.raises(RuntimeError, match="c1"):
        await flaky(request_of())


async def test_the_slow_one_can_be_cancelled(caplog):
    caplog.set_level("INFO")
    task = asyncio.create_task(slow(request_of()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "c1 was cancelled" in caplog.text


async def test_the_slow_one_sleeps_until_after_the_deadline(monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await slow(request_of(deadline_ms=str(Clock().now_ms() + 2_000)))
    assert 2.5 < slept[0] <= 3.0


async def test_a_batch_goes_through_its_items_and_says_when():
    batch = await batches(request_of(path_items="1"))
    assert (batch.items, batch.worker) == (1, os.getpid())
    assert datetime.fromisoformat(batch.finished).tzinfo


@pytest.mark.parametrize("items", ["0", "1001", "-1", "x", "", "99999", "²"])
async def test_a_number_of_items_that_is_none_is_the_callers_fault(items):
    assert (await batches(request_of(path_items=items))).status == 422


async def test_a_batch_that_is_stopped_says_so_and_stops(capsys):
    task = asyncio.create_task(batches(request_of(path_items="1000")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "c1 was stopped after 0 of 1000 items" in capsys.readouterr().err


async def test_they_run_as_one_worker():
    async with (
        FakeBroker() as broker,
        Requester(new_client(broker)) as requester,
        running(worker, broker),
    ):
        analysis = await requester.call("demo.texts", "one two", content_type="text/plain")
        small = await requester.call("demo.thumbnails", image_of("PNG", (64, 64)), path_size="8")
        failed = await requester.call("demo.flaky")
    assert json.loads(analysis.body)["words"] == 2
    assert small.get("content_type") == "image/png"
    assert failed.get("problem") == "worker-failed"
