"""A caller that speaks HTTP/2, one frame at a time if need be."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import h2.config
import h2.connection
import h2.events

from tests.bridge.callers import until


class Streams:
    """One HTTP/2 connection, with prior knowledge."""

    def __init__(self, reader, writer, strict):
        self._reader = reader
        self._writer = writer
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                header_encoding="utf-8",
                validate_outbound_headers=strict,
                normalize_outbound_headers=strict,
            )
        )
        self.answers = {}
        self.bodies = {}
        self.ended = set()
        self.resets = {}
        self.closed = False
        self.terminated = None
        self._reading = None

    @classmethod
    async def connect(cls, port, *, strict=True):
        """``strict``: headers are checked before they are sent."""
        streams = cls(*await asyncio.open_connection("127.0.0.1", port), strict)
        streams.h2.initiate_connection()
        streams.flush()
        streams._reading = asyncio.create_task(streams._read())
        return streams

    def raw(self, data):
        """Send bytes that are no frames of h2's making."""
        self.flush()
        self._writer.write(data)

    def request(self, path="/echo", *, method="POST", headers=(), body=b"", end=True):
        """Begin a request; return its stream's number."""
        number = self.h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", path)]
        self.h2.send_headers(number, [*pseudo, *headers])
        self.bodies[number] = b""
        self.send(number, body, end=end)
        return number

    def send(self, number, body, *, end=True):
        self.h2.send_data(number, body, end_stream=end)
        self.flush()

    async def pour(self, number, size):
        """Send a body of that size and its end, as fast as the other side lets us."""
        for at in range(0, size, 16_000):
            part = b"x" * min(16_000, size - at)
            await until(lambda part=part: self.h2.local_flow_control_window(number) >= len(part), "room to send")
            self.send(number, part, end=False)
        self.send(number, b"")

    def reset(self, number):
        self.h2.reset_stream(number)
        self.flush()

    async def answer(self, number):
        """Wait for the whole answer; return its headers and its body."""
        await until(lambda: number in self.ended or self.closed, f"the answer of stream {number}")
        assert number in self.ended, "the connection was closed"
        return self.answers[number], self.bodies[number]

    async def _read(self):
        while data := await self._received():
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    self.answers[event.stream_id] = dict(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    self.bodies[event.stream_id] += event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    self.ended.add(event.stream_id)
                elif isinstance(event, h2.events.StreamReset):
                    self.resets[event.stream_id] = event.error_code
                elif isinstance(event, h2.events.ConnectionTerminated):
                    self.terminated = event.error_code
            self.flush()
        self.closed = True

    async def _received(self):
        try:
            return await self._reader.read(65_536)
        except ConnectionError:
            return b""

    def flush(self):
        self._writer.write(self.h2.data_to_send())

    async def close(self):
        self._reading.cancel()
        self._writer.close()
        with suppress(ConnectionError):  # the bridge may have closed it
            await self._writer.wait_closed()
