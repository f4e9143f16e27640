"""Durations and sizes as people write them: `250ms`, `10s`, `64KiB`. Pure functions.

Seconds are floats, sizes whole bytes. Each parser raises ValueError with a sentence for the reader.
"""

import re
from decimal import Decimal

from .faults import show

_MS_PER_UNIT = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
_BYTES_PER_UNIT = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

MAX_DURATION_S = 8_760 * 3_600.0
"""A year. More is a slip of the pen, and epoch arithmetic stays well inside 64 bits."""
MAX_SIZE_BYTES = 1 << 40
MIN_DURATION_S = 0.001
"""Deadlines and heart-beats are whole milliseconds on the wire."""

# ASCII digits only: `\d` would take those of every script. Bounded, so that no digits are too many.
_DURATION = re.compile(r"(-?)([0-9]{1,15}(?:\.[0-9]{1,9})?)(ms|s|m|h)")
_SIZE = re.compile(r"(-?)([0-9]{1,15})(B|KiB|MiB|GiB)")
_DECIMAL_UNIT = re.compile(r"[0-9]+ ?([kKMGmg])i?[bB]?")


def parse_duration(text: str, *, zero_allowed: bool = False) -> float:
    """`text` such as `10s`, `0.5s`, `250ms`, `5m`, `1h` in seconds; ValueError says why not."""
    match = _DURATION.fullmatch(text)
    if match is None:
        msg = f'{show(text)} is not a duration: write a number and ms, s, m or h, such as "10s"'
        raise ValueError(msg)
    sign, number, unit = match.groups()
    seconds = float(Decimal(number) * _MS_PER_UNIT[unit] / 1000)
    return check_duration(-seconds if sign else seconds, text, zero_allowed=zero_allowed)


def check_duration(seconds: float, shown: str = "", *, zero_allowed: bool = False) -> float:
    """`seconds`, if it is a duration that settings may hold; `shown` is how its writer put it."""
    shown = shown or f"{seconds}s"
    if zero_allowed and seconds == 0 and not shown.startswith("-"):
        return 0.0
    if seconds <= 0:
        least = "0 or more" if zero_allowed else "greater than 0"
        raise ValueError(f"must be {least} (is {shown})")
    if seconds < MIN_DURATION_S:
        raise ValueError(f"must be at least 1ms (is {shown})")
    if not seconds <= MAX_DURATION_S:  # also true of NaN
        raise ValueError(f"must be at most {format_duration(MAX_DURATION_S)} (is {shown})")
    return seconds


def format_duration(seconds: float) -> str:
    """Write `seconds` in the largest unit that fits whole, to the millisecond: 90 is `90s`."""
    ms = round(seconds * 1000)
    for unit in ("h", "m", "s"):
        if ms % _MS_PER_UNIT[unit] == 0 and (ms or unit == "s"):
            return f"{ms // _MS_PER_UNIT[unit]}{unit}"
    return f"{ms}ms"


def parse_size(text: str) -> int:
    """`text` such as `64KiB`, `1MiB`, `512B` in bytes; ValueError says why not."""
    match = _SIZE.fullmatch(text)
    if match is None:
        decimal = _DECIMAL_UNIT.fullmatch(text)
        example = f"{decimal.group(1).upper()}iB" if decimal else "MiB"
        msg = (
            f"{show(text)} is not a size: write a whole number and B, KiB, MiB or GiB, "
            f'such as "1{example}", or bytes as a number without quotes'
        )
        raise ValueError(msg)
    sign, number, unit = match.groups()
    size = int(number) * _BYTES_PER_UNIT[unit]
    return check_size(-size if sign else size, text)


def check_size(size: int, shown: str = "") -> int:
    """`size` in bytes, if it is one that settings may hold; `shown` is how its writer put it."""
    shown = shown or str(size)
    if size <= 0:
        raise ValueError(f"must be greater than 0 (is {shown})")
    if size > MAX_SIZE_BYTES:
        raise ValueError(f"must be at most {format_size(MAX_SIZE_BYTES)} (is {shown})")
    return size


def format_size(size: int) -> str:
    """Write `size` in the largest unit that fits whole: 65536 is `64KiB`."""
    for unit in ("GiB", "MiB", "KiB"):
        if size % _BYTES_PER_UNIT[unit] == 0 and size:
            return f"{size // _BYTES_PER_UNIT[unit]}{unit}"
    return f"{size}B"
