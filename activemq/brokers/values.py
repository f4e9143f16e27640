"""Values of headers."""

from __future__ import annotations


def whole_number(value: str | None) -> int | None:
    """Read a header that should be a whole number, not negative; None if it is not, or not there."""
    if value is None or not (value.isascii() and value.isdigit() and len(value) < 19):
        return None
    return int(value)
