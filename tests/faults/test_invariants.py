"""Each invariant can fail: a defect that is sown into a faultless history is found, with the call and the lines."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults import invariants
from tests.faults.history import (
    LEFT,
    NONE,
    OPEN,
    SECOND,
    Acked,
    Begun,
    Call,
    Counter,
    Delivered,
    Drained,
    Ended,
    Epoch,
    Extra,
    Fault,
    History,
    Leak,
    Left,
    Life,
    Published,
    Receipt,
    Record,
    Result,
    Sent,
    Spoilt,
    Told,
    line_of,
)
from tests.faults.invariants import Violation, check

T = 100 * SECOND
OFFSET = 1_700_000_000 * SECOND
DEADLINE = (T + OFFSET) // 1_000 + 20_000  # epoch ms, of what was called at T


def call(nonce: str = "a", **changed: Any) -> Call:
    good = Call(nonce, "held", "bridge-1", T, T + 9_000, 200, NONE, NONE, nonce, f"id-{nonce}", 20 * SECOND)
    return good._replace(**changed)


def way(nonce: str = "a", worker: str = "worker-1", at: int = T, seat: str = "7/s-1/1") -> list[Record]:
    """A message from its publishing to its ACK."""
    connection = int(seat[0])
    return [
        Published(nonce, at + 1_000, "bridge-1", f"id-{nonce}"),
        Delivered(nonce, at + 2_000, worker, seat, connection, f"ack-{nonce}", f"id-{nonce}", DEADLINE),
        Begun(nonce, at + 3_000, worker, 1, DEADLINE),
        Ended(nonce, at + 4_000, worker, "replied"),
        Sent(nonce, at + 5_000, worker, connection, f"r-{nonce}", f"id-{nonce}", "reply", NONE),
        Receipt(at + 6_000, connection, f"r-{nonce}", "RECEIPT"),
        Acked(at + 7_000, seat, connection, f"ack-{nonce}", NONE),
    ]


def job(nonce: str = "j") -> list[Record]:
    """A job that was accepted, ran and is done."""
    return [
        call(nonce, kind="job", status=202, echoed=NONE),
        *way(nonce, seat="8/s-1/1"),
        Result(nonce, f"id-{nonce}", T + SECOND, "done", 200, NONE, nonce),
    ]


def good() -> list[Record]:
    """A history in which all is as it should be."""
    return [
        Epoch(OFFSET),
        Life(1, "bridge-1"),
        call(),
        *way(),
        *job(),
        call("s", kind="unauthorised", status=401, problem="unauthenticated", echoed=NONE),
        call("d", status=504, problem="deadline", ended=T + 20 * SECOND, echoed=NONE),
        Drained(T + 60 * SECOND, "bridge-1"),
        call("w", sent=T + 61 * SECOND, ended=T + 61 * SECOND + 1, status=503, problem="draining", echoed=NONE),
        Left("bridge-1", "held", 0, 0),
        Left("faults.work.poison", "messages", 3, 3),
        *(Counter("bridge-1", 1, outcome, 1) for outcome in ("unauthenticated", "deadline", "draining")),
        Counter("bridge-1", 1, "2xx", 2),
    ]


def without(records: list[Record], kind: type[Any], nonce: str | None = None) -> list[Record]:
    return [one for one in records if not (isinstance(one, kind) and nonce in (None, getattr(one, "nonce", None)))]


def changed(records: list[Record], kind: type[Any], nonce: str, **fields: Any) -> list[Record]:
    """With one record, of that kind and nonce, otherwise."""
    return [
        one._replace(**fields) if isinstance(one, kind) and getattr(one, "nonce", None) == nonce else one
        for one in records
    ]


def found(records: list[Record]) -> list[Violation]:
    return check(History(records))


def test_nothing_is_found_in_a_faultless_history():
    assert found(good()) == []


OF_JOB = Receipt(T + 6_000, 8, "r-j", "RECEIPT")
AGAIN = way("a", "worker-2", T + SECOND, "9/s-1/1")

DEFECTS: dict[str, tuple[int, str, list[Record]]] = {
    "a doubled answer": (1, "a", [*good(), call()]),
    "an answer that nobody asked for": (1, "a", [*good(), Extra("a", T + SECOND, 120)]),
    "no answer": (1, "a", changed(good(), Call, "a", status=OPEN)),
    "a swapped body": (2, "a", changed(good(), Call, "a", echoed="j")),
    "an answer without a nonce": (2, "a", changed(good(), Call, "a", echoed=NONE)),
    "a swapped result": (2, "j", changed(good(), Result, "j", echoed="a")),
    "a lost job": (3, "j", without(without(good(), Begun, "j"), Delivered, "j")),
    "a forgotten job": (3, "j", without(good(), Result)),
    "a job with two results": (3, "j", [*good(), Result("j", "id-j", T + 2 * SECOND, "done", 200, NONE, "j")]),
    "a job without an end": (3, "j", changed(good(), Result, "j", state="running")),
    "a second execution": (4, "a", [*good(), *AGAIN]),
    "a second execution, and a fault elsewhere": (
        4, "a", [*good(), *AGAIN, Fault(T + 5_000, T + 6_000, "kill -9", "worker-3")]),
    "a second execution, and a fault before the first": (
        4, "a", [*good(), *AGAIN, Fault(T - 9 * SECOND, T - 8 * SECOND, "kill -9", "worker-1")]),
    "a second execution, and a fault after it": (
        4, "a", [*good(), *AGAIN, Fault(T + 2 * SECOND, T + 3 * SECOND, "kill -9", "worker-1")]),
    "an ACK before its reply": (5, "a", changed(good(), Sent, "a", at=T + 7_001)),
    "an ACK before its reply's receipt": (
        5, "a", [*without(good(), Receipt), Receipt(T + 7_001, 7, "r-a", "RECEIPT"), OF_JOB]),
    "an ACK and a reply that was never confirmed": (
        5, "a", [*without(good(), Receipt), OF_JOB]),
    "an ACK without a reply": (5, "a", without(good(), Sent, "a")),
    "an ACK without a reply, of a call that was withdrawn only then": (
        5, "a", [*without(good(), Sent, "a"), Told(T + 7_001, "worker-1", "id-a")]),
    "an early 504": (6, "d", changed(good(), Call, "d", ended=T + 19 * SECOND)),
    "a beginning after the deadline": (6, "a", changed(good(), Begun, "a", at=T + 21 * SECOND)),
    "two unacknowledged": (
        7, "b", [*good(), Delivered("b", T + 2_500, "worker-1", "7/s-1/1", 7, "ack-b", "id-b", DEADLINE)]),
    "a message left in a queue": (8, NONE, [*good(), Left("faults.work", "messages", 1, 0)]),
    "one more dead letter than poison": (8, NONE, [*good(), Left("faults.work.poison", "messages", 4, 3)]),
    "a call that is still held": (8, NONE, [*good(), Left("bridge-1", "held", 1, 0)]),
    "an answer after the drain": (9, "a", changed(good(), Call, "a", sent=T + 62 * SECOND, ended=T + 63 * SECOND)),
    "a message after the drain": (9, "a", changed(
        good(), Call, "a", sent=T + 62 * SECOND, ended=T + 63 * SECOND, status=LEFT, echoed=NONE)),
    "a refusal of a bridge that does not drain": (9, "w", without(good(), Drained)),
    "a message for a call without a right": (10, "s", [*good(), Published("s", T + 1_000, "bridge-1", "id-s")]),
    "an execution of a call without a right": (10, "s", [*good(), Begun("s", T + 1_000, "worker-1", 1, 0)]),
    "a call without a right, refused by the bridge for another reason": (
        10, "s", changed(good(), Call, "s", status=400, problem="invalid-request")),
    "a call without a right, answered": (10, "s", changed(good(), Call, "s", status=200, problem=NONE, echoed="s")),
    "a secret in a log": (11, NONE, [*good(), Leak("admin key", "bridge-1.log", 17)]),
    "a counter that is too low": (12, NONE, [*without(good(), Counter), Counter("bridge-1", 1, "2xx", 1)]),
    "a counter that is too high": (12, NONE, [*good(), Counter("bridge-1", 1, "2xx", 3)]),
    "a bridge that does not tell what it counts": (12, NONE, without(good(), Counter)),
    "a counter of what nobody saw": (12, NONE, [*good(), Counter("bridge-1", 1, "internal", 1)]),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_found(defect):
    number, nonce, records = DEFECTS[defect]
    violations = [violation for violation in found(records) if violation.invariant == number]
    assert nonce in {violation.nonce for violation in violations}
    (first, *_) = (violation for violation in violations if violation.nonce == nonce)
    lines = {line_of(record) for record in records}
    assert first.lines
    assert set(first.lines) <= lines or number == 12  # a counter that is missing is written as 0
    assert f"call {nonce}" in str(first)


def test_each_invariant_has_a_defect():
    assert {number for number, _, _ in DEFECTS.values()} == set(range(1, len(invariants.INVARIANTS) + 1))


GOOD = {
    "a close instead of an answer": [*changed(good(), Call, "a", status=0)],
    "a second execution after its worker was killed": [
        *good(), *AGAIN, Fault(T + 5_000, T + 6_000, "kill -9", "worker-1")],
    "a second execution after a worker was killed that had the message and did not run it": [
        *good(), Delivered("a", T + 1_500, "worker-9", "6/s-1/1", 6, "ack-a6", "id-a", DEADLINE), *AGAIN,
        Fault(T + 1_600, T + 1_700, "kill -9", "worker-9")],
    "a second execution of what another bridge has sent again": [
        *good(), Published("a", T + SECOND, "bridge-2", "id-a"), *AGAIN,
        Fault(T + 500, T + 600, "partition", "bridge-1")],
    "a second execution after the broker was killed": [
        *good(), *AGAIN, Fault(T + 5_000, T + 6_000, "kill -9", "broker")],
    "a job that expired without having run": changed(
        without(without(good(), Begun, "j"), Delivered, "j"), Result, "j", state="expired", echoed=NONE),
    "an ACK without a reply, of a call that was withdrawn": [
        *without(good(), Sent, "a"), Told(T + 4_500, "worker-1", "id-a")],
    "an ACK without a reply after the deadline": changed(
        without(good(), Sent, "a"), Delivered, "a", deadline=DEADLINE - 20_000),
    "an ACK after the broker has refused the reply": [
        *without(good(), Receipt), Receipt(T + 6_000, 7, "r-a", "ERROR"), OF_JOB],
    "an ACK together with a copy, in one transaction": [
        *without(without(good(), Sent, "a"), Acked),
        Sent("a", T + 5_000, "worker-1", 7, NONE, "id-a", "copy", "t-1"),
        Acked(T + 5_100, "7/s-1/1", 7, "ack-a", "t-1"),
        Acked(T + 7_000, "8/s-1/1", 8, "ack-j", NONE)],
    "what is on a connection whose bytes were changed": [*without(good(), Sent, "a"), Spoilt(T, 7)],
    "an ACK in good time, and the next message": [
        *good(), Delivered("b", T + 7_001, "worker-1", "7/s-1/1", 7, "ack-b", "id-b", DEADLINE)],
    "a counter, and a request that the HTTP server did not take": [
        *good(), call("b", kind="unauthorised", status=400, echoed=NONE)],
    "a counter of what its caller did not wait for": [
        *without(changed(good(), Call, "a", status=LEFT), Counter),
        *(Counter("bridge-1", 1, outcome, 1) for outcome in ("2xx", "unauthenticated", "deadline", "draining"))],
    "a call without a right to it, in the drain": changed(
        good(), Call, "s", sent=T + 62 * SECOND, ended=T + 63 * SECOND),
    "a call before the drain, answered in it": changed(
        good(), Call, "a", sent=T + 60 * SECOND, ended=T + 70 * SECOND),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_what_is_right_is_not_complained_about(case):
    assert [str(violation) for violation in found(GOOD[case]) if violation.invariant != 12 or "counter" in case] == []


def test_where_bytes_were_changed_only_somebody_elses_answer_counts():
    spoilt = changed(good(), Call, "a", echoed="n-unknown")
    swapped = changed(good(), Call, "a", echoed="j")
    assert list(invariants.not_anothers(History(spoilt))) == []
    assert [one.nonce for one in invariants.not_anothers(History(swapped))] == ["a"]
