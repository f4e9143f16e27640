"""Lines in and out."""

from __future__ import annotations

import typing

import pytest

from tests.faults.history import KINDS, NONE, History, Journal, Left, line_of, parsed
from tests.faults.quiet import leaks
from tests.faults.recorder import nonce_in, sealed


@pytest.mark.parametrize("letter", KINDS)
def test_a_record_comes_back_as_it_was(letter):
    kind = KINDS[letter]
    types = typing.get_type_hints(kind)
    record = kind._make(number if types[name] is int else f"text {number}" for number, name in enumerate(kind._fields))
    assert parsed(line_of(record)) == record


def test_a_journal_is_read_without_the_half_line_of_a_process_that_was_killed(tmp_path):
    journal = Journal(tmp_path / "a.journal")
    journal.add(Left("a", "b", 1, 2))
    journal.write(Left("c", "d", 3, 4))
    assert History.read(tmp_path).of(Left) == [Left("c", "d", 3, 4)]
    journal.flush()
    with (tmp_path / "a.journal").open("a") as file:
        file.write("Q\te\tf\t5")
    assert History.read(tmp_path).of(Left) == [Left("c", "d", 3, 4), Left("a", "b", 1, 2)]


NONCE = sealed("n-0a-1-17")


@pytest.mark.parametrize(
    ("body", "nonce"),
    [
        (f"{NONCE} work 20", NONCE),
        (f"re {NONCE}", NONCE),
        ("", NONE),
        (NONCE[:-1], NONE),
        (NONCE.replace("17", "16"), NONE),
    ],
)
def test_a_nonce_is_found_in_a_body_if_it_is_whole(body, nonce):
    assert nonce_in(body.encode()) == nonce


def test_a_secret_is_found_in_a_log_and_its_line_is_told():
    secrets = {"passcode": "hush", "key": "other"}
    assert leaks(b"one\ntwo hush\nhush\n", secrets) == [("passcode", 2)]
    assert leaks(b"nothing", secrets) == []
