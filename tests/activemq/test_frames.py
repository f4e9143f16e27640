"""STOMP frames: escapes by version, encoding, and what a received frame tells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activemq.errors import LocalProtocolError, RemoteProtocolError
from activemq.frames import Frame, encode, escape, unescape

no_nul = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
# 1.1 has no escape for CR; 1.0 has none at all.
no_cr = no_nul.map(lambda text: text.replace("\r", ""))
plain = no_nul.map(lambda text: "".join(c for c in text if c not in "\r\n\\:"))


@given(no_nul)
def test_escapes_round_trip_in_1_2(text: str) -> None:
    assert unescape(escape(text), "1.2") == text


@given(no_cr)
def test_escapes_round_trip_in_1_1(text: str) -> None:
    assert unescape(escape(text), "1.1") == text


@given(plain)
def test_what_needs_no_escape_round_trips_in_1_0(text: str) -> None:
    assert unescape(escape(text), "1.0") == text


@given(no_nul)
def test_what_is_escaped_cannot_end_a_header_or_its_name(text: str) -> None:
    assert not set("\r\n:") & set(escape(text))


@pytest.mark.parametrize(
    ("wire", "version", "text"),
    [
        (r"a\cb", "1.2", "a:b"),
        (r"a\\b", "1.2", r"a\b"),
        (r"a\nb", "1.2", "a\nb"),
        (r"a\rb", "1.2", "a\rb"),
        (r"\\\\c", "1.2", r"\\c"),
        (r"\\n", "1.2", r"\n"),
        (r"a\cb", "1.1", "a:b"),
        (r"a\nb", "1.1", "a\nb"),
        (r"a\\b", "1.1", r"a\b"),
        (r"a\cb\q", "1.0", r"a\cb\q"),
    ],
)
def test_unescape_reads_each_escape_of_its_version(wire: str, version: str, text: str) -> None:
    assert unescape(wire, version) == text


@pytest.mark.parametrize(
    ("wire", "version"),
    [(r"\t", "1.2"), (r"a\q", "1.2"), ("end\\", "1.2"), ("\\\n", "1.2"), (r"\r", "1.1"), (r"\t", "1.1")],
)
def test_an_undefined_escape_is_the_peers_fault(wire: str, version: str) -> None:
    with pytest.raises(RemoteProtocolError, match="undefined escape"):
        unescape(wire, version)


def test_a_nul_in_a_header_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(LocalProtocolError, match="NUL"):
        escape("a\0b")
    with pytest.raises(LocalProtocolError, match="NUL"):
        encode("SEND", [("a\0b", "1")])


def test_encode_writes_command_headers_and_body() -> None:
    assert encode("SEND", [("a", "1"), ("b", "2")], b"body") == b"SEND\na:1\nb:2\n\nbody\0"


def test_encode_escapes_names_and_values() -> None:
    assert encode("SEND", [("a:b", "c\\d\r\né")]) == "SEND\na\\cb:c\\\\d\\r\\né\n\n\0".encode()


def test_encode_adds_no_content_length_since_it_decides_the_kind_of_message() -> None:
    assert b"content-length" not in encode("SEND", [], b"12345")


def test_encode_takes_a_body_with_nul_only_with_a_content_length() -> None:
    assert encode("SEND", [("content-length", "3")], b"a\0b").endswith(b"\n\na\0b\0")
    with pytest.raises(LocalProtocolError, match="content-length"):
        encode("SEND", [], b"a\0b")


def test_connect_is_not_escaped() -> None:
    assert encode("CONNECT", [("passcode", "a:b\\c")]) == b"CONNECT\npasscode:a:b\\c\n\n\0"


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b"])
@pytest.mark.parametrize("place", ["name", "value"])
def test_connect_cannot_carry_what_it_cannot_escape(bad: str, place: str) -> None:
    header = (bad, "x") if place == "name" else ("x", bad)
    with pytest.raises(LocalProtocolError, match="CONNECT"):
        encode("CONNECT", [header])


def test_get_unescapes_and_raw_does_not() -> None:
    frame = Frame("MESSAGE", r"\na\c:1".replace(r"\n", "\n") + "\nack:ID\\c1")
    assert frame.get("ack") == "ID:1"
    assert frame.raw("ack") == r"ID\c1"


def test_a_header_that_is_not_there_is_none() -> None:
    frame = Frame("MESSAGE", "\nabc:1")
    assert frame.get("ab") is None
    assert frame.get("bc") is None
    assert frame.raw("c") is None


def test_an_empty_value_is_not_an_absent_one() -> None:
    frame = Frame("MESSAGE", "\na:\nb:")
    assert frame.get("a") == ""
    assert frame.raw("b") == ""


def test_of_a_doubled_header_the_first_counts() -> None:
    frame = Frame("MESSAGE", "\na:1\nb:2\na:3")
    assert (frame.get("a"), frame.raw("a"), frame.headers) == ("1", "1", {"a": "1", "b": "2"})


def test_the_last_header_is_found_as_the_first_is() -> None:
    frame = Frame("MESSAGE", "\na:1\nb:2:3")
    assert frame.get("b") == "2:3"


def test_headers_unescapes_names_and_values() -> None:
    assert Frame("MESSAGE", "\na\\cb:c\\nd").headers == {"a:b": "c\nd"}


def test_an_undefined_escape_in_a_value_is_told_when_it_is_read() -> None:
    frame = Frame("MESSAGE", "\na:1\nb:\\q")
    assert frame.get("a") == "1"
    with pytest.raises(RemoteProtocolError):
        frame.get("b")
    with pytest.raises(RemoteProtocolError):
        _ = frame.headers


def test_a_foreign_name_that_classic_does_not_escape_costs_nothing() -> None:
    # As Classic 6.3.1 hands on the JMS property "we:ird\\qa\nme", see contract/test_foreign_messages.py.
    frame = Frame("MESSAGE", "\nwe:ird\\\\qa\nme:v\nodd\\qname:1\nno colon here\n:no name\ngood:1")
    assert frame.headers == {"we": "ird\\qa", "me": "v", "odd\\qname": "1", "good": "1"}


def test_a_frame_made_from_headers_reads_like_a_received_one() -> None:
    frame = Frame.of("MESSAGE", {"a:b": "1:2", "reply-to": "/remote-temp-queue/ID:1"}, b"x")
    assert frame.headers == {"a:b": "1:2", "reply-to": "/remote-temp-queue/ID:1"}
    assert frame.raw("reply-to") == r"/remote-temp-queue/ID\c1"
    assert (frame.command, frame.body, frame.version) == ("MESSAGE", b"x", "1.2")


def test_repr_shows_neither_values_nor_body() -> None:
    shown = repr(Frame.of("CONNECT", {"passcode": "secret"}, b"secret"))
    assert "secret" not in shown
    assert "CONNECT" in shown
