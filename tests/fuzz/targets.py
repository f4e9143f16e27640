"""What is fuzzed: each target takes any bytes, and ends well or raises :class:`Broken`. None has a clock or I/O.

The rule of all: any input is read, or refused by the one error that its reader documents; what is read is consistent,
however it was cut into pieces; what is made of it is one frame, or an HTTP head without a control character.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from activemq.errors import LocalProtocolError, MessageError, RemoteProtocolError
from activemq.frames import CLIENT_COMMANDS, SERVER_COMMANDS, Frame, Limits, ack_headers, encode, reason_of
from activemq.message import RequestEncoder, RequestMessage, encode_copy, encode_notice, encode_poison, encode_reply
from activemq.parser import Parser
from bridge import translate
from bridge.problems import Problem
from bridge.routing import ServedRoute
from bridge.settings import Route, SettingsError, parse

SMALL: Final = Limits(max_line=64, max_headers=8, max_head=256, max_body=128)
LARGE: Final = Limits(max_line=2**30, max_headers=2**30, max_head=2**30, max_body=2**30)
ROUTE: Final = ServedRoute(
    Route(
        name="r",
        path="/r/{size}",
        queue="r",
        max_reply=1_000,
        accepts=("text/plain",),
        pass_headers=("accept-language", "x-a"),
        pass_reply_headers=("etag", "location", "x-a"),
    )
)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LARGE_LENGTH: Final = re.compile(rb"content-length:\d{3}")
_AFTER_A_NUL: Final = re.compile(rb"\x00[\r\n]*")
_OPENINGS: Final = frozenset(command[:size].encode() for command in SERVER_COMMANDS for size in range(6))
_NOWHERE: Final = Path("/nonexistent")


class Broken(AssertionError):  # noqa: N818 - what it says
    """A promise that an input has broken."""


def check(holds: bool, promise: str) -> None:
    if not holds:
        raise Broken(promise)


Said = list[tuple[str, str, bytes, int]]


def _read(pieces: list[bytes], limits: Limits, commands: frozenset[str], version: str) -> tuple[Said, bool]:
    """The frames, and whether it ended with the one error."""
    parser = Parser(limits, commands)
    parser.version = version
    said: Said = []
    most = max(limits.max_head, limits.max_body) + limits.max_line
    for piece in pieces:
        try:
            frames = parser.feed(piece)
        except RemoteProtocolError:
            return said, True
        said += [(frame.command, frame.head, frame.body, frame.oversize) for frame in frames]
        check(parser.buffered <= most + len(piece), "what is kept is bounded")
    return said, False


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def parser(data: bytes) -> None:
    """Whole and in pieces it says the same, or both end with the one error."""
    if not data:
        return
    choice, data = data[0], data[1:]
    limits = SMALL if choice & 1 else LARGE
    commands = CLIENT_COMMANDS if choice & 2 else SERVER_COMMANDS
    version = ("1.0", "1.1", "1.2", "1.2")[choice >> 2 & 3]
    whole, failed = _read([data], limits, commands, version)
    for size in (1, 2 + (choice >> 4)):
        said, also = _read(_pieces(data, size), limits, commands, version)
        # An oversize body whose length is wrong: what was thrown away is not searched for another end.
        thrown_away = limits is SMALL and _LARGE_LENGTH.search(data)
        if (commands is CLIENT_COMMANDS or not _may_be_cut(data)) and not thrown_away:
            # In pieces a line is seen to be too long before the head that it stands in has come whole.
            early = also and not failed and _read([data + b"\n\n\0"], limits, commands, version)[1]
            check(also == (failed or early), "in pieces it fails as it does whole")
            check(also or said == whole, "in pieces it says the same")
    for command, head, body, _ in whole:
        frame = Frame(command, head, body, version)
        for use in (lambda f: f.headers, ack_headers, reason_of, lambda f: f.get("message-id")):
            try:
                use(frame)
            except RemoteProtocolError:
                continue


def _may_be_cut(data: bytes) -> bool:
    """Whether a NUL is followed by what cannot begin a frame: a text with a NUL in it, which only Classic sends.

    It is read whole if what follows is there already, and ends at the NUL if that was the last byte of a piece.
    """
    return any(data[found.end() : found.end() + 5] not in _OPENINGS for found in _AFTER_A_NUL.finditer(data))


def _frames(data: bytes, commands: frozenset[str] = SERVER_COMMANDS) -> list[Frame]:
    """Of the first byte, what is said of text; then a stream."""
    reader = Parser(Limits(max_body=4_096), commands)
    try:
        frames = reader.feed(data[1:])
    except RemoteProtocolError:
        return []
    for frame in frames:
        frame.tells_text = not (data[0] & 1)
    return frames


def _one_send(data: bytes) -> Frame:
    """What we send is one whole frame, whatever it was made of."""
    reader = Parser(LARGE, CLIENT_COMMANDS)
    frames = reader.feed(data)
    check(len(frames) == 1 and not reader.buffered, "it is one frame")
    check(frames[0].command == "SEND", "it is a SEND")
    return frames[0]


def request(data: bytes) -> None:
    """A message for a worker: what it reads of it, its reply, its notice, its copy, and parking it."""
    for frame in _frames(data) if data else []:
        message = RequestMessage(frame)
        for name in ("correlation_id", "reply_to", "content_type", "deadline_ms", "attempt", "reply_kinds", "body"):
            try:
                getattr(message, name)
            except (MessageError, RemoteProtocolError):
                continue
        made: list[Callable[[], bytes]] = [
            lambda m=message: encode_copy(m, "/queue/q", 2, [("transaction", "t")]),
            lambda m=message: encode_poison(m, "/queue/q.poison", []),
        ]
        if _replies_to(message):
            made += [
                lambda m=message: encode_reply(m, receipt="r", headers=[("x-a", m.text("x") or "")], body=m.body),
                lambda m=message: encode_notice(m, "progress", 1, [("done", m.text("x") or "")], m.body),
            ]
        for make in made:
            try:
                sent = _one_send(make())
            except (MessageError, RemoteProtocolError, LocalProtocolError):
                continue
            check(sent.raw("destination") is not None, "it has a destination")


def _replies_to(message: RequestMessage) -> bool:
    try:
        return message.reply_to is not None
    except (MessageError, RemoteProtocolError):
        return False


def reply(data: bytes) -> None:
    """A worker's reply as an HTTP answer: its headers are ours to name, and hold nothing that ends a line."""
    for frame in _frames(data) if data else []:
        try:
            answer = translate.answer_of(frame, ROUTE)
        except Problem as problem:
            check(problem.row.status >= 500, "a bad reply is not the caller's fault")
            check(_CONTROL.search(problem.detail.encode()) is None, "what it says is a line")
            continue
        check(200 <= answer.status <= 599, "a status that HTTP has")
        names = {b"content-type", b"content-length", *(header for _, header in ROUTE.returns)}
        for name, value in answer.headers:
            check(name in names, "no header passes that the route does not name")
            check(_CONTROL.search(value) is None, "no value ends a line")


def head(data: bytes) -> None:
    """A request's head and target as a server gives them: properties of one frame, or the caller's own fault."""
    first, *lines = data.split(b"\n")
    path, _, query = first.partition(b"?")
    headers = [(name.lower(), value) for name, colon, value in (line.partition(b":") for line in lines) if colon]
    try:
        read = translate.read_head(headers, ROUTE.passes)
        target = translate.target_of(path, query)
        translate.check_media_type(read, ROUTE)
        translate.check_idempotency_key(read, ROUTE)
        wanted = translate.preferences(read.prefer)
        translate.is_job(read, ROUTE, wanted)
        priority = translate.priority_of(read.priority, 9)
        properties = translate.properties_of(read, target, "POST", [("size", target[:100])])
        properties += translate.trace_of(read, "0" * 32)
        translate.comes_from_elsewhere(read)
        encoder = RequestEncoder(destination="/queue/r", reply_to="/temp-queue/r", route="r")
        sent = encoder.encode("c" * 22, ("expires", "1"), 1, 1, priority, properties, data, text=b"\0" not in data)
    except Problem as problem:
        check(400 <= problem.row.status < 500, "a bad request is its caller's fault")
        return
    got = _one_send(sent)
    check(0 <= priority <= 9, "a priority that brokers have")
    check(got.body == data, "the body is what came")
    for name, value in properties:
        check(got.get(name) == dict(reversed(properties))[name], f"{name} is what was meant")
        check(_CONTROL.search(value.encode()) is None, "no property holds a control character")
    check(got.get("destination") == "/queue/r", "the destination is the route's")


def frame(data: bytes) -> None:
    """What we encode is read again as it was, or refused before it is sent."""
    text = data.decode("utf-8", "surrogateescape")
    names = [part.partition("=") for part in text.split("\x1f")]
    headers = [(name, value) for name, equals, value in names if equals and name not in ("", "content-length")]
    try:
        made = encode("SEND", [("destination", "/queue/q"), *headers], b"")
    except (LocalProtocolError, UnicodeEncodeError):
        return
    got = _one_send(made)
    first: dict[str, str] = {}
    for name, value in headers:
        first.setdefault(name, value)
    first.pop("destination", None)
    check({name: got.headers.get(name) for name in first} == first, "each header comes back")


def settings(data: bytes) -> None:
    """A file of settings is read, or refused with its faults named."""
    try:
        parse(data.decode("utf-8", "replace").replace("_file", "_fil"), base=_NOWHERE)
    except SettingsError as error:
        check(bool(str(error)), "it says what is wrong")


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    "parser": parser,
    "request": request,
    "reply": reply,
    "head": head,
    "frame": frame,
    "settings": settings,
}
