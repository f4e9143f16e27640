"""Eight times as much takes about eight times as long, whatever it is and however it is cut: 64 would be quadratic.

No time is asserted, only the ratio of two sizes, measured one after the other; the table for 64 MiB is in
docs/security.md.
"""

from __future__ import annotations

from functools import partial

import pytest

from activemq.frames import Limits
from tests.fuzz.linear import MIB, OURS, SHAPES, feed, seconds
from tests.fuzz.targets import LARGE

SMALL, TIMES, ROUNDS = MIB // 16, 8, 2
MOST = 3 * TIMES  # what noise of a shared machine may add; quadratic is 64
FLOOR = 0.005  # seconds; below this it is all noise


def least(shape: str, size: int, slices: int, limits: Limits) -> float:
    return min(seconds(partial(feed, shape, size, slices, limits)) for _ in range(ROUNDS))


@pytest.mark.parametrize(("slices", "limits"), [(2**30, LARGE), (1_000, LARGE), (65_536, OURS)], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_work_grows_with_the_input_and_no_faster(shape: str, slices: int, limits: Limits) -> None:
    small = max(least(shape, SMALL, slices, limits), FLOOR)
    large = least(shape, TIMES * SMALL, slices, limits)
    assert large < MOST * small, f"{small:.3f} s, and {large:.3f} s for {TIMES} times as much"


def test_byte_by_byte_too() -> None:
    for shape in SHAPES:
        small = max(least(shape, MIB // 256, 1, LARGE), FLOOR)
        assert least(shape, MIB // 32, 1, LARGE) < MOST * small, shape


@pytest.mark.parametrize(
    ("shape", "refused"),
    [("NULs", True), ("NULs in a header", True), ("colons", True), ("backslashes", True), ("line feeds", False)],
)
def test_over_our_limits_it_is_refused_and_what_is_no_frame_is_passed_over(shape: str, refused: bool) -> None:
    assert feed(shape, 4 * MIB, 65_536, OURS) is refused
