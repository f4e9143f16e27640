"""Secrets from files. What a file holds is never part of a message."""

from pathlib import Path

MAX_SECRET_BYTES = 4_096
"""A header line of ActiveMQ Classic is at most 10 KiB; a longer file is not a passcode."""


def read_secret(path: Path) -> str:
    """Read the text of `path` without the line break at its end.

    Raises ValueError when it cannot be read, is empty, too long, or not one line of UTF-8.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_SECRET_BYTES + 3)  # room for a line break, and one to see there is more
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    raw = raw.removesuffix(b"\n").removesuffix(b"\r")
    if not raw:
        raise ValueError(f"{path} is empty")
    if len(raw) > MAX_SECRET_BYTES:
        raise ValueError(f"{path} is longer than {MAX_SECRET_BYTES} bytes: is it the right file?")
    try:
        secret = raw.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    if any(char in secret for char in "\r\n\0"):
        raise ValueError(f"{path} must hold one line, without NUL")
    return secret
