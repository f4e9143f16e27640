"""Inputs that are nothing but one byte, or nearly: what makes a parser quadratic.

``python -m tests.fuzz.linear [MIB]`` prints the table of docs/security.md: seconds of CPU for so many MiB (64), in
slices of several sizes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from activemq.errors import RemoteProtocolError
from activemq.frames import Frame, Limits, unescape
from activemq.message import RequestMessage
from activemq.parser import Parser
from bridge.problems import Problem
from bridge.translate import answer_of
from tests.fuzz.targets import LARGE, ROUTE

MIB: Final = 1024 * 1024
_TEXT: Final = b"MESSAGE\nmessage-id:1\n\n"
_HEADER: Final = b"MESSAGE\nx:"

# What comes before the bytes, and the byte. In a body with a length, one without, a header, and nothing at all.
SHAPES: Final[Mapping[str, tuple[bytes, bytes]]] = {
    "NULs": (b"", b"\0"),
    "NULs in a text": (_TEXT, b"\0a"),
    "NULs in a body with a length": (b"MESSAGE\ncontent-length:2147483647\n\n", b"\0"),
    "NULs in a header": (_HEADER, b"\0"),
    "colons": (_HEADER, b":"),
    "lines of colons": (b"MESSAGE\n", b":\n"),
    "backslashes": (_HEADER, b"\\"),
    "line feeds": (b"", b"\n"),
    "CR LF": (b"", b"\r\n"),
    "line feeds in a text": (_TEXT, b"\n"),
    "NULs and line feeds": (_TEXT, b"\0\n"),
    "short frames": (b"", b"RECEIPT\nreceipt-id:1\n\n\0\n"),
}
OURS: Final = Limits()


def feed(shape: str, size: int, slices: int, limits: Limits) -> bool:
    """Feed that many bytes, in slices of that many; return whether they were refused. All frames are looked at."""
    opening, filling = SHAPES[shape]
    data = opening + filling * (size // len(filling))
    parser = Parser(limits)
    try:
        for at in range(0, len(data), slices):
            for frame in parser.feed(data[at : at + slices]):
                look(frame)
        for frame in parser.feed(b"\n\n\0"):
            look(frame)
    except RemoteProtocolError:
        return True
    return False


def look(frame: Frame) -> None:
    """What bridge and worker do with a frame that came."""
    uses: list[Callable[[], object]] = [
        lambda: frame.headers,
        lambda: RequestMessage(frame).correlation_id,
        lambda: answer_of(frame, ROUTE),
        lambda: unescape(frame.head, "1.2"),
    ]
    for use in uses:
        try:
            use()
        except (RemoteProtocolError, Problem):
            continue


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    size = int(sys.argv[1]) * MIB if len(sys.argv) > 1 else 64 * MIB
    print(f"| {size // MIB} MiB of | no limits, whole | in 64 KiB | in 1,000 B | our limits, in 64 KiB |")
    print("|---|--:|--:|--:|--:|")
    for shape in SHAPES:
        cells = []
        for slices, limits in ((size * 2, LARGE), (65_536, LARGE), (1_000, LARGE), (65_536, OURS)):
            took = seconds(partial(feed, shape, size, slices, limits))
            cells.append(f"{took:.2f} s")
        print(f"| {shape} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
