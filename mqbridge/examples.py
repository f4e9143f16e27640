"""Examples at the end of a command's help."""

from __future__ import annotations


def examples(*commands: str) -> str:
    r"""Return them as an epilog, a line each. Click does not wrap what comes after ``\b``: it is to be copied."""
    return "\n\n".join([f"Example{'s' if len(commands) > 1 else ''}:", *(f"\b\n$ {command}" for command in commands)])
