"""Durations and sizes: what is written, what it means, what is refused."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.settings.units import (
    MAX_DURATION_S,
    MAX_SIZE_BYTES,
    check_duration,
    check_size,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("10s", 10.0), ("0.5s", 0.5), ("5m", 300.0), ("1h", 3600.0), ("1.5h", 5400.0), ("1ms", 0.001)],
)
def test_a_duration_is_a_number_and_a_unit(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("1B", 1), ("64KiB", 65_536), ("1MiB", 1_048_576), ("3MiB", 3_145_728), ("2GiB", 2_147_483_648)],
)
def test_a_size_is_a_whole_number_and_a_binary_unit(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["0s", "0ms", "0.0h", "-0s", "-5s"])
def test_a_duration_of_zero_or_less_is_refused(text):
    with pytest.raises(ValueError, match="must be greater than 0") as caught:
        parse_duration(text)
    assert f"(is {text})" in str(caught.value)


def test_zero_is_a_duration_where_it_is_allowed():
    assert parse_duration("0s", zero_allowed=True) == 0


@pytest.mark.parametrize("text", ["-0s", "-1ms"])
def test_less_than_zero_is_refused_even_where_zero_is_allowed(text):
    with pytest.raises(ValueError, match="must be 0 or more"):
        parse_duration(text, zero_allowed=True)


def test_a_duration_below_a_millisecond_is_refused():
    assert parse_duration("1ms") == 0.001
    with pytest.raises(ValueError, match="at least 1ms"):
        parse_duration("0.999ms")


def test_a_duration_above_a_year_is_refused():
    assert parse_duration("8760h") == MAX_DURATION_S
    assert parse_duration("8759h") < MAX_DURATION_S
    with pytest.raises(ValueError, match="at most 8760h"):
        parse_duration("8760.000001h")


def test_a_size_above_the_limit_is_refused():
    assert parse_size("1023GiB") < MAX_SIZE_BYTES
    assert parse_size("1024GiB") == MAX_SIZE_BYTES
    with pytest.raises(ValueError, match="at most 1024GiB"):
        parse_size("1025GiB")
    with pytest.raises(ValueError, match="at most 1024GiB"):
        check_size(MAX_SIZE_BYTES + 1)


@pytest.mark.parametrize("text", ["0B", "0MiB", "-1KiB", "-0B"])
def test_a_size_of_zero_or_less_is_refused(text):
    with pytest.raises(ValueError, match="must be greater than 0"):
        parse_size(text)


NOT_DURATIONS = ["", "10", "s", "10 s", " 10s", "10s\n", "10S", "10sec", "1d", "1h30m", "1e3s", "+5s", ".5s", "5.s"]
NOT_DURATIONS += ["nan", "nans", "inf", "infs", "0x10s", "1_000s", "\u0661s", "1,5s", "--1s"]


@pytest.mark.parametrize("text", NOT_DURATIONS)
def test_what_is_not_a_duration_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r'is not a duration: .* such as "10s"'):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "64", "KiB", "64 KiB", "64kib", "64K", "1.5MiB", "1e3KiB", "+1B", "\u0661B"])
def test_what_is_not_a_size_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"is not a size: .* such as"):
        parse_size(text)


@pytest.mark.parametrize(("text", "meant"), [("1MB", "1MiB"), ("64k", "1KiB"), ("2gb", "1GiB"), ("4 Mb", "1MiB")])
def test_a_decimal_unit_is_answered_with_the_binary_one(text, meant):
    with pytest.raises(ValueError, match=f'such as "{meant}"'):
        parse_size(text)


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_not_a_duration(seconds):
    with pytest.raises(ValueError, match="must be"):
        check_duration(seconds)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (0.25, "250ms"), (30, "30s"), (90, "90s"), (300, "5m"), (7200, "2h")]
)
def test_a_duration_is_written_in_the_largest_unit_that_fits(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(0, "0B"), (1000, "1000B"), (65_536, "64KiB"), (1 << 30, "1GiB")])
def test_a_size_is_written_in_the_largest_unit_that_fits(size, text):
    assert format_size(size) == text


@settings(deadline=None)  # the machine may be busy
@given(st.integers(min_value=1, max_value=int(MAX_DURATION_S * 1000)))
def test_what_is_written_as_a_duration_is_read_as_the_same(ms):
    assert parse_duration(format_duration(ms / 1000)) == ms / 1000


@settings(deadline=None)  # the machine may be busy
@given(st.integers(min_value=1, max_value=MAX_SIZE_BYTES))
def test_what_is_written_as_a_size_is_read_as_the_same(size):
    assert parse_size(format_size(size)) == size


def _outcome(parse):
    """What was read, or what the one error says; any other error goes through."""
    try:
        return parse(), ""
    except ValueError as error:
        return None, str(error)


NEARLY = st.text(alphabet="0123456789.-+eEnaifKMGiBshm _\u0661\n", max_size=24)


@settings(deadline=None)  # the machine may be busy
@given(st.text() | NEARLY, st.booleans())
def test_any_text_is_a_duration_within_bounds_or_refused_with_one_error(text, zero_allowed):
    seconds, said = _outcome(lambda: parse_duration(text, zero_allowed=zero_allowed))
    assert "\n" not in said
    if seconds is not None:
        assert seconds <= MAX_DURATION_S
        assert seconds >= 0.001 or (zero_allowed and seconds == 0)


@settings(deadline=None)  # the machine may be busy
@given(st.text() | NEARLY)
def test_any_text_is_a_size_within_bounds_or_refused_with_one_error(text):
    size, said = _outcome(lambda: parse_size(text))
    assert "\n" not in said
    if size is not None:
        assert 1 <= size <= MAX_SIZE_BYTES
