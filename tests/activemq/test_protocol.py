"""The client's side of a connection: what is legal when, what is negotiated, and heart-beats with fake times."""

from collections.abc import Callable

import pytest

from activemq.errors import LocalProtocolError, RemoteProtocolError
from activemq.frames import CLIENT_COMMANDS, Limits
from activemq.parser import Parser
from activemq.protocol import Credentials, State, Stomp

CONNECTED = b"CONNECTED\nversion:1.2\nserver:ActiveMQ/6.3.1\nheart-beat:0,0\n\n\0\n"
MESSAGE = b"MESSAGE\nsubscription:1\nmessage-id:1\ndestination:/queue/a\n\nx\0"
RECEIPT = b"RECEIPT\nreceipt-id:1\n\n\0"
ERROR = b"ERROR\nmessage:no\n\n\0"


def stomp_in(state: State, **options: object) -> Stomp:
    """A connection that has come to a state the way that real ones do."""
    stomp = Stomp(**options)
    if state is State.NEW:
        return stomp
    stomp.connect(0.0)
    if state is State.CONNECTING:
        return stomp
    if state is State.CLOSED:
        stomp.receive_data(ERROR, 0.0)
        return stomp
    stomp.receive_data(CONNECTED, 0.0)
    if state is State.DISCONNECTING:
        stomp.disconnect("bye")
    return stomp


# -- the state table: what the broker may say, and where it leads (None: it may not)

TABLE = {
    State.NEW: {CONNECTED: None, MESSAGE: None, RECEIPT: None, ERROR: None},
    State.CONNECTING: {CONNECTED: State.CONNECTED, MESSAGE: None, RECEIPT: None, ERROR: State.CLOSED},
    State.CONNECTED: dict.fromkeys([CONNECTED, MESSAGE, RECEIPT, ERROR], State.CONNECTED),
    State.DISCONNECTING: dict.fromkeys([MESSAGE, RECEIPT, ERROR], State.DISCONNECTING),
    State.CLOSED: {CONNECTED: None, MESSAGE: None, RECEIPT: None, ERROR: None},
}


@pytest.mark.parametrize(
    ("state", "data", "after"),
    [(state, data, after) for state, row in TABLE.items() for data, after in row.items()],
    ids=lambda value: value.split(b"\n")[0].decode() if isinstance(value, bytes) else getattr(value, "value", "error"),
)
def test_what_the_broker_may_say_when(state: State, data: bytes, after: State | None) -> None:
    stomp = stomp_in(state)
    if after is None:
        with pytest.raises(RemoteProtocolError):
            stomp.receive_data(data, 1.0)
        assert stomp.state is State.CLOSED
    else:
        (frame,) = stomp.receive_data(data, 1.0)
        assert frame.command == data.split(b"\n")[0].decode()
        assert stomp.state is after


def test_the_state_table_is_complete() -> None:
    assert set(TABLE) == set(State)


COMMANDS: dict[str, Callable[[Stomp], object]] = {
    "connect": lambda stomp: stomp.connect(1.0),
    "send": lambda stomp: stomp.send(b"SEND\ndestination:/queue/a\n\n\0"),
    "command": lambda stomp: stomp.command("SUBSCRIBE", [("id", "1")]),
    "disconnect": lambda stomp: stomp.disconnect("bye"),
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_we_may_say_when(state: State, command: str) -> None:
    stomp = stomp_in(state)
    stomp.data_to_send(0.0)
    allowed = State.NEW if command == "connect" else State.CONNECTED
    if state is allowed:
        COMMANDS[command](stomp)
        assert stomp.data_to_send(1.0)
    else:
        with pytest.raises(LocalProtocolError, match=state.value):
            COMMANDS[command](stomp)
        assert stomp.data_to_send(1.0) == b""


@pytest.mark.parametrize("state", [State.CONNECTING, State.CONNECTED, State.DISCONNECTING])
def test_bytes_that_are_not_stomp_close_it(state: State) -> None:
    stomp = stomp_in(state)
    with pytest.raises(RemoteProtocolError):
        stomp.receive_data(b"HTTP/1.1 400 Bad Request\r\n\r\n", 1.0)
    assert stomp.state is State.CLOSED


def test_an_error_is_a_frame_and_the_connection_stays() -> None:
    stomp = stomp_in(State.CONNECTED)
    (frame,) = stomp.receive_data(b"ERROR\nmessage:refused\nreceipt-id:7\n\n\0", 1.0)
    assert (frame.get("message"), frame.get("receipt-id")) == ("refused", "7")
    assert stomp.state is State.CONNECTED


@pytest.mark.parametrize("size", range(1, len(CONNECTED + MESSAGE), 7))
def test_connected_and_what_follows_may_be_cut_anywhere(size: int) -> None:
    stomp = stomp_in(State.CONNECTING)
    data = CONNECTED + MESSAGE
    frames = stomp.receive_data(data[:size], 1.0) + stomp.receive_data(data[size:], 1.0)
    assert [frame.command for frame in frames] == ["CONNECTED", "MESSAGE"]


def test_the_limits_are_the_parsers() -> None:
    stomp = stomp_in(State.CONNECTED, limits=Limits(max_body=3))
    (frame,) = stomp.receive_data(b"MESSAGE\n\nabcd\0", 1.0)
    assert frame.oversize == 4


# -- CONNECT and CONNECTED


def connect_frame(*options: object) -> dict[str, str]:
    stomp = Stomp(*options)
    stomp.connect(0.0)
    (frame,) = Parser(commands=CLIENT_COMMANDS).feed(stomp.data_to_send(0.0))
    assert frame.command == "CONNECT"
    return frame.headers


def test_connect_offers_versions_and_heart_beats_and_nothing_that_was_not_given() -> None:
    assert connect_frame() == {"accept-version": "1.2,1.1", "host": "/", "heart-beat": "10000,10000"}


def test_connect_carries_credentials_and_host_as_they_are() -> None:
    headers = connect_frame(Credentials("us:er", "p:a\\ss", "vhost"), 2.5)
    assert headers["login"] == "us:er"
    assert headers["passcode"] == "p:a\\ss"
    assert headers["host"] == "vhost"
    assert headers["heart-beat"] == "2500,2500"


def test_credentials_do_not_show_their_passcode() -> None:
    assert "secret" not in repr(Credentials("user", "secret"))


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_the_brokers_version_is_taken(version: str) -> None:
    stomp = stomp_in(State.CONNECTING)
    stomp.receive_data(f"CONNECTED\nversion:{version}\nserver:X/1\n\n\0".encode(), 1.0)
    assert (stomp.version, stomp.server) == (version, "X/1")


def test_the_negotiated_version_decides_how_messages_are_unescaped() -> None:
    stomp = stomp_in(State.CONNECTING)
    stomp.receive_data(b"CONNECTED\nversion:1.1\n\n\0", 1.0)
    (frame,) = stomp.receive_data(b"MESSAGE\na:\\r\n\n\0", 1.0)
    assert frame.version == "1.1"


@pytest.mark.parametrize("head", [b"version:1.0\n", b"version:1.3\n", b"version:\n", b""])
def test_a_version_that_was_not_offered_is_refused(head: bytes) -> None:
    stomp = stomp_in(State.CONNECTING)
    with pytest.raises(RemoteProtocolError, match="which was not offered"):
        stomp.receive_data(b"CONNECTED\n" + head + b"\n\0", 1.0)
    assert stomp.state is State.CLOSED


def test_a_broker_need_not_say_its_name_or_heart_beat() -> None:
    stomp = stomp_in(State.CONNECTING)
    stomp.receive_data(b"CONNECTED\nversion:1.2\n\n\0", 1.0)
    assert (stomp.server, stomp.send_every, stomp.expect_every) == ("", 0.0, 0.0)


# -- heart-beats: STOMP 1.2, "Heart-beating"


def beating(ours: float, theirs: str) -> Stomp:
    stomp = Stomp(heartbeat=ours)
    stomp.connect(0.0)
    stomp.data_to_send(0.0)
    stomp.receive_data(f"CONNECTED\nversion:1.2\nheart-beat:{theirs}\n\n\0".encode(), 0.0)
    return stomp


@pytest.mark.parametrize(
    ("ours", "theirs", "send", "expect"),
    [
        (10, "10000,10000", 10, 10),
        (10, "0,0", 0, 0),
        (0, "10000,10000", 0, 0),
        (10, "20000,30000", 30, 20),
        (10, "1000,2000", 10, 10),
        (10, "0,5000", 10, 0),
        (10, "5000,0", 0, 10),
        (0.5, "100,700", 0.7, 0.5),
    ],
)
def test_the_slower_side_decides_each_way(ours: float, theirs: str, send: float, expect: float) -> None:
    stomp = beating(ours, theirs)
    assert (stomp.send_every, stomp.expect_every) == (send, expect)


@pytest.mark.parametrize("value", ["1", "a,b", "-1,0", "1,2,3", "1.5,1", " 1,1", ",", "²,1", f"{10**12},{10**12}"])
def test_a_heart_beat_header_that_is_none_is_the_peers_fault(value: str) -> None:
    stomp = stomp_in(State.CONNECTING)
    with pytest.raises(RemoteProtocolError, match="not a heart-beat header"):
        stomp.receive_data(f"CONNECTED\nversion:1.2\nheart-beat:{value}\n\n\0".encode(), 1.0)


def test_a_beat_is_due_half_way_since_the_broker_gives_no_grace() -> None:
    stomp = beating(10, "0,10000")
    assert stomp.heartbeat(4.9)
    assert stomp.data_to_send(4.9) == b""
    assert stomp.heartbeat(5.0)
    assert stomp.data_to_send(5.0) == b"\n"
    assert stomp.heartbeat(9.9)
    assert stomp.data_to_send(9.9) == b""
    assert stomp.heartbeat(10.0)
    assert stomp.data_to_send(10.0) == b"\n"


def test_whatever_is_sent_is_a_sign_of_life() -> None:
    stomp = beating(10, "0,10000")
    stomp.send(b"SEND\n\n\0")
    stomp.data_to_send(4.0)
    assert stomp.heartbeat(8.0)
    assert stomp.data_to_send(8.0) == b""


def test_silence_of_two_and_a_half_intervals_is_the_end() -> None:
    stomp = beating(10, "10000,0")
    assert stomp.heartbeat(25.0)
    assert not stomp.heartbeat(25.1)


@pytest.mark.parametrize("data", [b"\n", b"\r\n", MESSAGE, MESSAGE[:5]], ids=["LF", "CR LF", "frame", "part"])
def test_whatever_is_received_is_a_sign_of_life(data: bytes) -> None:
    stomp = beating(10, "10000,0")
    stomp.receive_data(data, 20.0)
    assert stomp.heartbeat(45.0)
    assert not stomp.heartbeat(45.1)


def test_without_an_agreement_there_are_no_beats_and_no_end() -> None:
    stomp = beating(10, "0,0")
    assert stomp.heartbeat(1e9)
    assert stomp.data_to_send(1e9) == b""
    assert stomp.heartbeat_pause == 0


@pytest.mark.parametrize("state", [State.NEW, State.CONNECTING, State.DISCONNECTING, State.CLOSED])
def test_beats_belong_to_a_connection_that_is_up(state: State) -> None:
    stomp = stomp_in(state)
    stomp.data_to_send(0.0)
    assert stomp.heartbeat(1e9)
    assert stomp.data_to_send(1e9) == b""


@pytest.mark.parametrize(("theirs", "pause"), [("10000,0", 2.5), ("0,20000", 5.0), ("20000,10000", 2.5)])
def test_one_looks_four_times_in_the_shorter_interval(theirs: str, pause: float) -> None:
    assert beating(10, theirs).heartbeat_pause == pause


# -- what is sent


def test_all_that_is_queued_leaves_as_one_piece_in_its_order() -> None:
    stomp = stomp_in(State.CONNECTED)
    stomp.data_to_send(0.0)
    stomp.send(b"one\0")
    stomp.send(b"two\0")
    stomp.command("ACK", [("id", "1")])
    assert stomp.data_to_send(1.0) == b"one\0two\0ACK\nid:1\n\n\0"
    assert stomp.data_to_send(1.0) == b""


def test_disconnect_asks_for_its_receipt() -> None:
    stomp = stomp_in(State.CONNECTED)
    stomp.data_to_send(0.0)
    stomp.disconnect("bye")
    assert stomp.data_to_send(1.0) == b"DISCONNECT\nreceipt:bye\n\n\0"


@pytest.mark.parametrize("field", ["login", "passcode", "host"])
@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b"])
def test_credentials_that_no_connect_frame_can_carry_are_refused(field: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{field} must be one line"):
        Credentials(**{field: value})
