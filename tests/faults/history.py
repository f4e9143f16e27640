"""What happened in a run: one line for each event, written by whoever saw it, and read again by the checker.

Each process has a journal of its own. A line is a letter and fields with tabs between them; times are microseconds of
the machine's monotonic clock, which all of its processes share. A *nonce* names a call: it is in the request's body, in
what its handler writes down, and in the reply.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

NONE = "-"
SECOND = 1_000_000  # of the journals' times

# What became of a call without an answer.
CLOSED = 0  # the bridge closed the connection
LEFT = -1  # we did
OPEN = -2  # nothing, until the end of the run


def now() -> int:
    """The time for a line."""
    return time.monotonic_ns() // 1_000


class Call(NamedTuple):
    """One request and its end, by the load generator. ``kind``: held, job, keyed or unauthorised."""

    letter = "K"
    nonce: str
    kind: str
    bridge: str
    sent: int
    ended: int
    status: int
    problem: str
    ran: str
    echoed: str  # the nonce in the answer's body
    correlation_id: str
    timeout: int


class Extra(NamedTuple):
    """Bytes of a bridge that nobody had asked for, after the answer to ``nonce``."""

    letter = "X"
    nonce: str
    at: int
    size: int


class Result(NamedTuple):
    """What a job came to, as it was fetched at the end. ``status``: of the result's answer."""

    letter = "J"
    nonce: str
    job: str
    at: int
    state: str
    status: int
    problem: str
    echoed: str


class Begun(NamedTuple):
    """A handler began, by the worker itself. ``deadline``: as its message says, epoch ms; 0: none."""

    letter = "B"
    nonce: str
    at: int
    worker: str
    attempt: int
    deadline: int


class Ended(NamedTuple):
    """It came to its end; ``how``: replied, failed or cancelled."""

    letter = "E"
    nonce: str
    at: int
    worker: str
    how: str


class Published(NamedTuple):
    """A SEND of a bridge with a nonce in it, at the wire."""

    letter = "P"
    nonce: str
    at: int
    link: str
    correlation_id: str


class Delivered(NamedTuple):
    """A MESSAGE that is to be acknowledged, on its way to a worker. ``seat``: connection and subscription.

    ``deadline``: as it says, epoch ms; 0: none.
    """

    letter = "M"
    nonce: str
    at: int
    link: str
    seat: str
    connection: int
    ack: str
    correlation_id: str
    deadline: int


class Sent(NamedTuple):
    """A worker's SEND. ``kind``: reply, notice or copy."""

    letter = "S"
    nonce: str
    at: int
    link: str
    connection: int
    receipt: str
    correlation_id: str
    kind: str
    transaction: str


class Receipt(NamedTuple):
    """The broker's answer to a receipt that a worker asked for; ``kind``: RECEIPT or ERROR."""

    letter = "R"
    at: int
    connection: int
    receipt: str
    kind: str


class Acked(NamedTuple):
    """A worker's ACK."""

    letter = "A"
    at: int
    seat: str
    connection: int
    ack: str
    transaction: str


class Told(NamedTuple):
    """A worker was told that a call is over."""

    letter = "C"
    at: int
    link: str
    correlation_id: str


class Spoilt(NamedTuple):
    """From now on what is on this connection is not what was sent: nothing of it is judged."""

    letter = "T"
    at: int
    connection: int


class Fault(NamedTuple):
    """A fault and whom it hit: ``broker``, or the name of a bridge or a worker."""

    letter = "F"
    begun: int
    ended: int
    kind: str
    target: str


class Drained(NamedTuple):
    """A bridge was told to drain."""

    letter = "D"
    at: int
    bridge: str


class Life(NamedTuple):
    """A bridge was ready: its counters are of this life."""

    letter = "L"
    at: int
    bridge: str


class Counter(NamedTuple):
    """How many calls a bridge says have ended so, in its life that began at ``since``."""

    letter = "N"
    bridge: str
    since: int
    outcome: str
    number: int


class Left(NamedTuple):
    """What was left at the end: ``what`` of whom, and how many or much. ``allowed``: what may be."""

    letter = "Q"
    who: str
    what: str
    number: int
    allowed: int


class Epoch(NamedTuple):
    """The true offset between the journals' time and the time of day, microseconds."""

    letter = "O"
    offset: int


class Leak(NamedTuple):
    """A secret that was found in a log: its name, never itself."""

    letter = "W"
    secret: str
    file: str
    line: int


Record = (
    Call | Extra | Result | Begun | Ended | Published | Delivered | Sent | Receipt | Acked | Told | Spoilt | Fault
    | Drained | Life | Counter | Left | Epoch | Leak
)  # fmt: skip
KINDS: dict[str, type[Any]] = {kind.letter: kind for kind in Record.__args__}
_NUMBERS: dict[str, tuple[int, ...]] = {
    letter: tuple(at for at, name in enumerate(kind._fields) if get_type_hints(kind)[name] is int)
    for letter, kind in KINDS.items()
}


def line_of(record: Record) -> str:
    """The line that says it, without its end."""
    return "\t".join([record.letter, *map(str, record)])


def parsed(line: str) -> Record:
    """Read a line; ValueError if it is none."""
    letter, *fields = line.split("\t")
    values: list[Any] = fields
    for at in _NUMBERS[letter]:
        values[at] = int(fields[at])
    record: Record = KINDS[letter]._make(values)
    return record


class Journal:
    """A file that lines are added to. :meth:`add` keeps them until :meth:`flush`; :meth:`write` does not."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._lines: list[str] = []

    def add(self, record: Record) -> None:
        self._lines.append(line_of(record))

    def write(self, record: Record) -> None:
        """Write at once: it is there, whatever becomes of this process."""
        os.write(self._file, f"{line_of(record)}\n".encode())

    def flush(self) -> None:
        if self._lines:
            data = memoryview(("\n".join(self._lines) + "\n").encode())
            self._lines.clear()
            while data:
                data = data[os.write(self._file, data) :]


class History:
    """All records of a run, by kind."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._of: dict[str, list[Any]] = defaultdict(list)
        for record in records:
            self._of[record.letter].append(record)

    @classmethod
    def read(cls, folder: Path) -> History:
        """Read all journals of a folder. A last line without its end is of a process that was killed."""
        return cls(itertools.chain.from_iterable(_records(path) for path in sorted(folder.glob("*.journal"))))

    def of(self, kind: type[Any]) -> list[Any]:
        """Those of a kind, in the order of each journal."""
        return self._of[kind.letter]

    def by_nonce(self, kind: type[Any]) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = defaultdict(list)
        for record in self.of(kind):
            found[record.nonce].append(record)
        return found


def _records(path: Path) -> Iterator[Record]:
    with path.open() as file:
        for line in file:
            if line.endswith("\n"):
                yield parsed(line[:-1])
