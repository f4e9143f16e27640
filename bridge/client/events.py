"""Server-sent events (WHATWG HTML, 9.2) as a bridge sends them: bytes in, events out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bridge.client.errors import EventStreamError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    import httpx

MAX_EVENT: Final = 16 * 1024 * 1024  # bytes; a bridge's are far below
_LAST: Final = frozenset({"done", "failed"})
_END: Final = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Event:
    """One event: started, progress, chunk, done or failed; ``data``: its JSON; ``id``: None where it has none."""

    name: str
    data: Any
    id: int | None = None

    @property
    def is_last(self) -> bool:
        """Whether nothing comes after it."""
        return self.name in _LAST


class EventReader:
    """Makes events of the parts of a response's body, cut wherever they may be."""

    def __init__(self, limit: int = MAX_EVENT) -> None:
        """``limit``: bytes of one event."""
        self._limit = limit
        self._rest = b""  # of a line
        self._size = 0
        self._name = ""
        self._data: list[bytes] = []
        self._id: int | None = None

    def feed(self, part: bytes) -> list[Event]:
        """Return the events that are whole with this part. Raises :class:`EventStreamError`."""
        data = self._rest + part
        events: list[Event] = []
        start = 0
        for match in _END.finditer(data):
            if match.group() == b"\r" and match.end() == len(data):
                break  # its \n may follow
            event = self._take(data[start : match.start()])
            if event is not None:
                events.append(event)
            start = match.end()
        self._rest = data[start:]
        if len(self._rest) + self._size > self._limit:
            raise EventStreamError(f"an event is over {self._limit} bytes")
        return events

    def _take(self, line: bytes) -> Event | None:
        if not line:
            return self._finish()
        self._size += len(line)
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"data":
            self._data.append(value)
        elif name == b"id" and value.isdigit() and len(value) < 19:
            self._id = int(value)
        return None  # all else, and a comment, which has no name, is passed over

    def _finish(self) -> Event | None:
        name, data, number = self._name or "message", self._data, self._id
        self._size, self._name, self._data, self._id = 0, "", [], None
        if not data:
            return None
        try:
            return Event(name, json.loads(b"\n".join(data)), number)
        except ValueError:
            raise EventStreamError(f"the data of an event {name!r} is not JSON") from None


def iter_events(response: httpx.Response) -> Iterator[Event]:
    """Give the events of a streamed response, ``with client.stream(…, headers={"Accept": "text/event-stream"})``.

    Raises :class:`EventStreamError` if it is no stream of events, or of others than a bridge's.
    """
    _check(response)
    reader = EventReader()
    for part in response.iter_bytes():
        yield from reader.feed(part)


async def aiter_events(response: httpx.Response) -> AsyncGenerator[Event]:
    """Give the events of a streamed response; see :func:`iter_events`."""
    _check(response)
    reader = EventReader()
    async for part in response.aiter_bytes():
        for event in reader.feed(part):
            yield event


def _check(response: httpx.Response) -> None:
    content_type = response.headers.get("content-type", "")
    if response.status_code != 200 or content_type.partition(";")[0].strip().lower() != "text/event-stream":
        raise EventStreamError(f"not a stream of events: {response.status_code} {content_type}")
