"""Bytes in, frames out: whole, byte by byte, with trailing data, at each limit, and for any garbage."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from activemq.errors import RemoteProtocolError
from activemq.frames import CLIENT_COMMANDS, SERVER_COMMANDS, Frame, Limits, encode
from activemq.parser import Parser

Read = tuple[str, dict[str, str], bytes]


def whole(data: bytes, parser: Parser) -> list[Frame]:
    return parser.feed(data)


def byte_by_byte(data: bytes, parser: Parser) -> list[Frame]:
    return [frame for value in data for frame in parser.feed(bytes([value]))]


def behind_another(data: bytes, parser: Parser) -> list[Frame]:
    first, *rest = parser.feed(b"RECEIPT\nreceipt-id:before\n\n\0\n" + data)
    assert first.get("receipt-id") == "before"
    return rest


def in_halves(data: bytes, parser: Parser) -> list[Frame]:
    half = len(data) // 2
    return parser.feed(data[:half]) + parser.feed(data[half:])


@pytest.fixture(params=[whole, byte_by_byte, behind_another, in_halves])
def read(request: pytest.FixtureRequest):
    return request.param


def as_read(frames: list[Frame]) -> list[Read]:
    return [(frame.command, frame.headers, frame.body) for frame in frames]


FRAMES = [
    pytest.param(b"MESSAGE\na:1\nb:2\n\nbody\0", ("MESSAGE", {"a": "1", "b": "2"}, b"body"), id="text"),
    pytest.param(
        b"MESSAGE\ncontent-length:3\n\na\0b\0", ("MESSAGE", {"content-length": "3"}, b"a\0b"), id="NUL in the body"
    ),
    pytest.param(b"MESSAGE\ncontent-length:0\n\n\0", ("MESSAGE", {"content-length": "0"}, b""), id="length 0"),
    pytest.param(b"RECEIPT\nreceipt-id:1\n\n\0", ("RECEIPT", {"receipt-id": "1"}, b""), id="no body"),
    pytest.param(b"ERROR\n\n\0", ("ERROR", {}, b""), id="no headers"),
    pytest.param(b"MESSAGE\r\na:1\r\n\r\nbody\0", ("MESSAGE", {"a": "1"}, b"body"), id="CR LF"),
    pytest.param(b"MESSAGE\r\na:1\r\n\r\n\nbody\0", ("MESSAGE", {"a": "1"}, b"\nbody"), id="CR LF, LF in the body"),
    pytest.param(b"MESSAGE\na:1\n\n\n\nbody\n\n\0", ("MESSAGE", {"a": "1"}, b"\n\nbody\n\n"), id="LF around the body"),
    pytest.param(b"MESSAGE\na:1\n\n\r\nbody\0", ("MESSAGE", {"a": "1"}, b"\r\nbody"), id="CR LF begins the body"),
    pytest.param(b"MESSAGE\na:1\r\nb:2\n\r\nx\0", ("MESSAGE", {"a": "1", "b": "2"}, b"x"), id="line ends mixed"),
    pytest.param(b"MESSAGE\na:1\na:2\n\n\0", ("MESSAGE", {"a": "1"}, b""), id="doubled header"),
    pytest.param(b"MESSAGE\na:\xc3\xa9\n\n\xff\xfe\0", ("MESSAGE", {"a": "é"}, b"\xff\xfe"), id="any bytes as a body"),
    pytest.param(b"MESSAGE\na:1:2\n\n\0", ("MESSAGE", {"a": "1:2"}, b""), id="colon in a value"),
    pytest.param(b"\n\r\n\nMESSAGE\n\n\0", ("MESSAGE", {}, b""), id="heart-beats before"),
    pytest.param(b"MESSAGE\n\nlong " + b"x" * 5_000 + b"\0", ("MESSAGE", {}, b"long " + b"x" * 5_000), id="long body"),
]


@pytest.mark.parametrize(("data", "frame"), FRAMES)
def test_a_frame_is_read_however_it_is_cut(data: bytes, frame: Read, read) -> None:
    parser = Parser()
    assert as_read(read(data, parser)) == [frame]
    assert parser.buffered == 0


@pytest.mark.parametrize(("data", "frame"), FRAMES)
@pytest.mark.parametrize("padding", [b"", b"\n", b"\r\n", b"\n\n\n"], ids=["none", "LF", "CR LF", "LFs"])
def test_what_follows_a_frame_stays_another(data: bytes, frame: Read, padding: bytes, read) -> None:
    other = b"RECEIPT\nreceipt-id:after\n\n\0"
    frames = as_read(read(data + padding + other, Parser()))
    assert frames == [frame, ("RECEIPT", {"receipt-id": "after"}, b"")]


@pytest.mark.parametrize("size", range(len(FRAMES[0].values[0])))
def test_a_cut_frame_waits_for_its_rest(size: int) -> None:
    data = FRAMES[0].values[0]
    parser = Parser()
    assert parser.feed(data[:size]) == []
    assert parser.buffered <= size
    assert as_read(parser.feed(data[size:])) == [FRAMES[0].values[1]]


def test_heart_beats_are_nothing(read) -> None:
    parser = Parser()
    assert read(b"\n\n\r\n\n", parser) == []
    assert parser.buffered == 0


def test_many_frames_of_one_read_come_in_their_order(read) -> None:
    data = b"".join(encode("MESSAGE", [("n", str(n))], b"x" * n) for n in range(50))
    assert [frame.get("n") for frame in read(data, Parser())] == [str(n) for n in range(50)]


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
values = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=24)
reserved = {"content-length"}


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, Read]:
    headers = draw(st.dictionaries(names.filter(lambda name: name not in reserved), values, max_size=5))
    body = draw(st.binary(max_size=60) | st.just(b"\n") | st.just(b"\0\0MESSAGE\n\n\0"))
    if b"\0" in body or draw(st.booleans()):
        headers["content-length"] = str(len(body))
    command = draw(st.sampled_from(sorted(SERVER_COMMANDS - {"CONNECTED"})))
    return encode(command, headers.items(), body), (command, headers, body)


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    edges = sorted({min(cut, len(data)) for cut in cuts})
    for start, end in zip([0, *edges], [*edges, len(data)], strict=True):
        yield data[start:end]


@given(
    st.lists(messages(), min_size=1, max_size=4),
    st.sampled_from([b"", b"\n", b"\r\n"]),
    st.lists(st.integers(0, 600), max_size=12),
)
@example([(b"ERROR\n\n\0", ("ERROR", {}, b""))], b"", list(range(10)))
def test_any_frame_survives_encode_any_split_and_parse(
    sent: list[tuple[bytes, Read]], padding: bytes, cuts: list[int]
) -> None:
    parser = Parser()
    data = b"".join(wire + padding for wire, _ in sent)
    got = [frame for piece in pieces(data, cuts) for frame in parser.feed(piece)]
    assert as_read(got) == [frame for _, frame in sent]
    assert parser.buffered == 0


# Garbage that looks enough like STOMP to come far.
tokens = st.sampled_from(
    [
        *(command.encode() for command in sorted(SERVER_COMMANDS)),
        *(b"\n", b"\r\n", b"\r", b"\n\n", b"\0", b"\0\n", b":", b"\\", b"\\q", b"a:b\n", b"\xff", "é".encode()),
        *(b"content-length:", b"content-length:3\n", b"content-length:99999999999\n", b"3", b"-1", b"subscription:1\n"),
    ]
)
garbage = st.lists(tokens | st.binary(max_size=8), max_size=40).map(b"".join)


@given(garbage, st.lists(st.integers(0, 300), max_size=8), st.sampled_from([SERVER_COMMANDS, CLIENT_COMMANDS]))
def test_garbage_parses_or_raises_the_one_error(data: bytes, cuts: list[int], commands: frozenset[str]) -> None:
    parser = Parser(Limits(max_line=32, max_headers=4, max_head=80, max_body=20), commands)
    with suppress(RemoteProtocolError):
        for piece in pieces(data, cuts):
            for frame in parser.feed(piece):
                assert frame.command in commands
                assert len(frame.body) <= 20
                _ = frame.headers
            assert parser.buffered <= len(data)


# -- what is not STOMP


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"HELLO\n\n\0", "unknown command 'HELLO'"),
        (b"SEND\n\n\0", "unknown command 'SEND'"),
        (b"message\n\n\0", "unknown command 'message'"),
        (b" MESSAGE\n\n\0", "unknown command"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "unknown command 'HTTP/1.1 400"),
        (b"\0MESSAGE\n\n\0", "unknown command"),
        (b"MESSAGE\na:\xff\n\n\0", "not UTF-8"),
        (b"MESSAGE\n\xc3:1\n\n\0", "not UTF-8"),
        (b"MESSAGE\ncontent-length:-1\n\n\0", "content-length is not a number"),
        (b"MESSAGE\ncontent-length:\n\n\0", "content-length is not a number"),
        (b"MESSAGE\ncontent-length: 3\n\nabc\0", "content-length is not a number"),
        (b"MESSAGE\ncontent-length:+3\n\nabc\0", "content-length is not a number"),
        (b"MESSAGE\ncontent-length:3.0\n\nabc\0", "content-length is not a number"),
        ("MESSAGE\ncontent-length:٣\n\nabc\0".encode(), "content-length is not a number"),
        (b"MESSAGE\ncontent-length:100000000000000000000\n\n\0", "content-length is not a number"),
        (b"MESSAGE\ncontent-length:2147483649\n\n\0", "a body of 2147483649 bytes"),
        (b"RECEIPT\ncontent-length:2\n\nabc\0", "no NUL after a body"),
        (b"RECEIPT\ncontent-length:0\n\nabc\0", "no NUL after a body"),
    ],
)
def test_what_is_not_stomp_is_the_peers_fault(data: bytes, reason: str, read) -> None:
    with pytest.raises(RemoteProtocolError, match=reason):
        read(data, Parser())


def test_a_content_length_that_is_too_long_waits_for_it(read) -> None:
    parser = Parser()
    assert read(b"MESSAGE\ncontent-length:100\n\nabc\0", parser) == []


def test_2_gib_is_the_longest_content_length_that_anybody_could_mean() -> None:
    assert Parser().feed(b"MESSAGE\ncontent-length:2147483648\n\n") == []


def test_an_error_frame_is_a_frame_like_any_other(read) -> None:
    data = b"ERROR\nmessage:no\n\ntrace\0\nRECEIPT\nreceipt-id:1\n\n\0"
    assert [frame.command for frame in read(data, Parser())] == ["ERROR", "RECEIPT"]


def test_the_peers_side_decides_which_commands_are_known(read) -> None:
    frames = Parser(commands=CLIENT_COMMANDS).feed(b"SEND\ndestination:a\n\nx\0BEGIN\ntransaction:1\n\n\0")
    assert [frame.command for frame in frames] == ["SEND", "BEGIN"]
    with pytest.raises(RemoteProtocolError, match="unknown command 'MESSAGE'"):
        Parser(commands=CLIENT_COMMANDS).feed(b"MESSAGE\n\n\0")


def test_connected_is_never_unescaped_and_other_frames_are(read) -> None:
    connected, message = read(b"CONNECTED\nsession:a\\q\n\n\0MESSAGE\na:b\\c\n\n\0", Parser())
    assert connected.get("session") == "a\\q"
    assert message.get("a") == "b:"


def test_the_negotiated_version_decides_the_escapes() -> None:
    parser = Parser()
    parser.version = "1.1"
    (frame,) = parser.feed(b"MESSAGE\na:\\r\n\n\0")
    with pytest.raises(RemoteProtocolError):
        frame.get("a")


# -- limits, at N - 1, N and N + 1


@pytest.mark.parametrize(("over", "ok"), [(-1, True), (0, True), (1, False)])
def test_a_header_line_may_be_as_long_as_the_limit(over: int, ok: bool, read) -> None:
    limits = Limits(max_line=100)
    data = b"MESSAGE\na:" + b"x" * (98 + over) + b"\nb:1\n\n\0"
    if ok:
        assert len(read(data, Parser(limits))) == 1
    else:
        with pytest.raises(RemoteProtocolError, match="a header line is over 100 bytes"):
            read(data, Parser(limits))


@pytest.mark.parametrize(("over", "ok"), [(-1, True), (0, True), (1, False)])
def test_a_head_may_be_as_long_as_the_limit(over: int, ok: bool, read) -> None:
    limits = Limits(max_line=100, max_head=300)
    head = (b"MESSAGE\n" + b"a:1234567\n" * 60)[: 299 + over] + b"x"  # ends in a letter
    if ok:
        assert len(read(head + b"\n\n\0", Parser(limits))) == 1
    else:
        with pytest.raises(RemoteProtocolError, match="a frame's head is over 300 bytes"):
            read(head + b"\n\n\0", Parser(limits))


@pytest.mark.parametrize(("over", "ok"), [(-1, True), (0, True), (1, False)])
def test_a_frame_may_have_as_many_headers_as_the_limit(over: int, ok: bool, read) -> None:
    limits = Limits(max_headers=10)
    data = b"MESSAGE\n" + b"".join(b"%c:\n" % (97 + n) for n in range(10 + over)) + b"\n\0"
    if ok:
        assert len(read(data, Parser(limits))[0].headers) == 10 + over
    else:
        with pytest.raises(RemoteProtocolError, match="more than 10 headers"):
            read(data, Parser(limits))


@pytest.mark.parametrize("line", [b"x" * 101, b"a:1\n" + b"x" * 101], ids=["first line", "a later line"])
def test_a_line_without_an_end_is_not_waited_for(line: bytes) -> None:
    parser = Parser(Limits(max_line=100))
    with pytest.raises(RemoteProtocolError, match="a header line is over"):
        parser.feed(line + b"xx")


def test_a_head_without_an_end_is_not_waited_for() -> None:
    parser = Parser(Limits(max_line=100, max_head=300))
    parser.feed(b"a:1234567\n" * 30)
    with pytest.raises(RemoteProtocolError, match="head is over 300"):
        parser.feed(b"b:1")


@pytest.mark.parametrize("counted", [True, False], ids=["content-length", "to its NUL"])
@pytest.mark.parametrize(("size", "oversize"), [(99, 0), (100, 0), (101, 101), (1_000, 1_000)])
def test_a_body_over_the_limit_is_thrown_away_and_its_frame_handed_out(
    size: int, oversize: int, counted: bool, read
) -> None:
    head = b"MESSAGE\nid:1\n" + (b"content-length:%d\n\n" % size if counted else b"\n")
    data = head + b"x" * size + b"\0\nRECEIPT\nreceipt-id:after\n\n\0"
    message, receipt = read(data, Parser(Limits(max_body=100)))
    assert (message.get("id"), message.oversize) == ("1", oversize)
    assert message.body == (b"" if oversize else b"x" * size)
    assert receipt.get("receipt-id") == "after"


@pytest.mark.parametrize("counted", [True, False], ids=["content-length", "to its NUL"])
def test_of_an_oversize_body_no_more_than_the_limit_is_kept(counted: bool) -> None:
    parser = Parser(Limits(max_body=100))
    parser.feed(b"MESSAGE\n" + (b"content-length:100000\n\n" if counted else b"\n"))
    most = 0
    for _ in range(1_000):
        parser.feed(b"x" * 100)
        most = max(most, parser.buffered)
    (frame,) = parser.feed(b"\0")
    assert frame.oversize == 100_000
    assert most <= 100


def test_frames_after_an_oversize_one_are_read_as_ever() -> None:
    parser = Parser(Limits(max_body=10))
    frames = parser.feed(b"MESSAGE\n\n" + b"x" * 50 + b"\0MESSAGE\n\n" + b"y" * 10 + b"\0")
    assert [(frame.oversize, frame.body) for frame in frames] == [(50, b""), (0, b"y" * 10)]


# -- what Classic 6.3.1 hands on from foreign senders (seen by contract/test_foreign_messages.py)


@pytest.mark.parametrize("padding", [b"\n", b""], ids=["LF behind frames", "none"])
@pytest.mark.parametrize(
    "text",
    [b"a\0b", b"a\0\nb", b"\0a", b"a\0\0b", b"a\0Change", b"a\0Message", b"a\0\nERR", b"\0\0\0x", b"a\0\r\n\n\0\nb"],
)
def test_a_text_with_nuls_and_no_length_is_read_to_its_last(text: bytes, padding: bytes) -> None:
    data = b"MESSAGE\nn:1\n\n" + text + b"\0" + padding
    for following in (b"", b"\n", b"MESSAGE\nn:2\n\n\0", b"RECEIPT\n\n\0", b"ERROR\n\n\0", b"REC"):
        frames = Parser().feed(data + following)
        assert frames[0].body == text
        assert [frame.command for frame in frames[1:]] == [following.split(b"\n")[0].decode()][: following.count(b"\0")]


def test_only_messages_may_hold_a_nul_without_a_length() -> None:
    with pytest.raises(RemoteProtocolError, match="unknown command 'b"):
        Parser().feed(b"ERROR\n\na\0b\0\n\n")


@pytest.mark.parametrize("length", [0, 2, 5])
def test_a_message_whose_length_is_too_short_is_read_to_its_nul(length: int, read) -> None:
    data = b"MESSAGE\ncontent-length:%d\n\n\xef\xbf\xbd\xef\xbf\xbd\0\nRECEIPT\nreceipt-id:1\n\n\0\n" % length
    message, receipt = read(data, Parser())
    assert message.body == b"\xef\xbf\xbd\xef\xbf\xbd"
    assert receipt.get("receipt-id") == "1"


# -- linear time, shown by counting the bytes that are looked at


class Counting:
    """How many bytes the searches in a buffer went over."""

    def __init__(self) -> None:
        self.bytes = 0
        self.bytes_type = bytes

    def count(self, found: int, start: int, end: int) -> int:
        self.bytes += (found if found >= 0 else end) - start + 1
        return found


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    counting = Counting()

    class CountedBytes(bytes):
        def find(self, sub: bytes, start: int = 0, end: int | None = None) -> int:
            stop = len(self) if end is None else end
            return counting.count(super().find(sub, start, stop), start, stop)

    class CountedArray(bytearray):
        def find(self, sub: bytes, start: int = 0, end: int | None = None) -> int:
            stop = len(self) if end is None else end
            return counting.count(super().find(sub, start, stop), start, stop)

    monkeypatch.setattr("activemq.parser.bytes", CountedBytes, raising=False)
    monkeypatch.setattr("activemq.parser.bytearray", CountedArray, raising=False)
    counting.bytes_type = CountedBytes
    return counting


LINEAR = {
    "a long body without length": b"MESSAGE\n\n" + b"x" * 50_000 + b"\0",
    "a long body with length": b"MESSAGE\ncontent-length:50000\n\n" + b"x" * 50_000 + b"\0",
    "a long head": b"MESSAGE\n" + b"".join(b"a%d:1\n" % n for n in range(900)) + b"\n\0",
    "many frames": b"MESSAGE\na:1\n\nx\0\n" * 3_000,
    "many CR LF frames": b"MESSAGE\r\na:1\r\n\r\nx\0\n" * 3_000,
    "an oversize body": b"MESSAGE\n\n" + b"x" * 60_000 + b"\0",
}


@pytest.mark.parametrize("data", LINEAR.values(), ids=LINEAR)
@pytest.mark.parametrize("size", [1, 100, 1_000_000], ids=["byte by byte", "by the hundred", "whole"])
def test_each_byte_is_looked_at_a_few_times_at_most(data: bytes, size: int, counting: Counting) -> None:
    parser = Parser(Limits(max_body=55_000))
    frames = 0
    for start in range(0, len(data), size):
        frames += len(parser.feed(counting.bytes_type(data[start : start + size])))
    assert frames == data.count(b"MESSAGE")
    assert counting.bytes <= 10 * len(data)


def test_a_text_of_nuls_is_looked_at_once(counting: Counting) -> None:
    data = b"MESSAGE\n\n" + b"\0x" * 25_000 + b"\0"
    (frame,) = Parser().feed(counting.bytes_type(data))
    assert len(frame.body) == 50_000
    assert counting.bytes <= 10 * len(data)


@pytest.mark.parametrize("lost", [b"\n\n", b"\n\r\n"])
def test_two_messages_are_not_taken_for_one_where_the_blank_line_of_the_first_is_lost(lost: bytes) -> None:
    """Else the reply to the second call would be the answer to the first."""
    first = b"MESSAGE\ncorrelation-id:1" + lost + b"one\0\n"
    second = b"MESSAGE\ncorrelation-id:2\n\ntwo\0"
    assert [frame.body for frame in Parser().feed(first + second)] == [b"one", b"two"]
    with pytest.raises(RemoteProtocolError, match="within another"):
        Parser().feed(first.replace(lost, b"\n\x0b") + second)


def test_a_nul_in_a_header_is_no_reason_to_give_up_the_connection() -> None:
    (frame,) = Parser().feed(b"MESSAGE\nwritten:by \0MESSAGE\ncorrelation-id:1\n\nbody\0")
    assert (frame.get("correlation-id"), frame.body) == ("1", b"body")
