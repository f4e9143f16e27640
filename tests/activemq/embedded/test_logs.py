from __future__ import annotations

from activemq.embedded.logs import read_tail, store_locked, taken_port, telling_lines

# shortened from real logs of ActiveMQ Classic 6.3.1
PORT_TAKEN = """\
2026-11-22T05:43:11.007 [main] INFO org.apache.activemq.broker.BrokerService - Apache ActiveMQ 6.3.1 is starting
2026-11-22T05:43:11.025 [main] ERROR org.apache.activemq.broker.BrokerService - Failed to start Apache ActiveMQ
java.io.IOException: Transport Connector could not be registered in JMX: java.io.IOException: Failed to bind to \
server socket: stomp://127.0.0.1:54813?transport.tcpNoDelay=true due to: java.net.BindException: \
Address already in use (Bind failed)
\tat org.apache.activemq.util.IOExceptionSupport.create(IOExceptionSupport.java:28)
"""
LOCKED = """\
2026-11-22T05:43:13.951 [main] ERROR org.apache.activemq.broker.BrokerService - Failed to start Apache ActiveMQ
java.io.IOException: File 'kahadb/lock' could not be locked.
\tat org.apache.activemq.util.LockFile.lock(LockFile.java:76)
"""
NESTED = """\
ERROR: java.lang.RuntimeException: Failed to execute start task. Reason: outer
org.springframework.beans.factory.BeanCreationException: outer
\tat a.b.C(D.java:1)
Caused by: middle
\tat a.b.C(D.java:2)
\t... 5 more
Caused by: innermost
\tat a.b.C(D.java:3)
\t... 7 more
ERROR: the same again
Caused by: middle
\tat a.b.C(D.java:2)
Caused by: innermost
\t... 7 more
"""


def test_a_taken_port_is_read_from_the_log():
    assert taken_port(PORT_TAKEN) == 54813
    assert taken_port(LOCKED) is None


def test_a_locked_store_is_read_from_the_log():
    assert store_locked(LOCKED)
    assert not store_locked(PORT_TAKEN)


def test_the_innermost_cause_is_told_once():
    assert telling_lines(NESTED) == "innermost"


def test_a_cause_on_the_last_line_counts():
    assert telling_lines("x\nCaused by: a\nCaused by: b") == "b"


def test_without_causes_the_last_six_lines_are_told_without_the_trace():
    text = "".join(f"line {number}\n" for number in range(9)) + "\tat a.b.C(D.java:1)\n\n"
    assert telling_lines(text).split("\n  ") == [f"line {number}" for number in range(3, 9)]


def test_what_the_virtual_machine_says_is_told():
    text = "Unrecognized VM option 'NoSuch'\nError: Could not create the Java Virtual Machine.\n"
    assert telling_lines(text).startswith("Unrecognized VM option 'NoSuch'")


def test_a_long_line_is_cut():
    assert telling_lines("x" * 301) == "x" * 300


def test_an_empty_log_tells_nothing():
    assert telling_lines("") == ""


def test_only_the_end_of_a_long_log_is_read(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"a" + b"b" * 256 * 1024)
    assert read_tail(path) == "b" * 256 * 1024


def test_a_log_that_is_not_utf_8_is_read_all_the_same(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"caf\xe9")
    assert read_tail(path) == "caf\ufffd"


def test_a_log_that_is_not_there_is_empty(tmp_path):
    assert read_tail(tmp_path / "none") == ""
