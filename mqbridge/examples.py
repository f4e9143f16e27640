"""Examples at the end of a command's help."""

from __future__ import annotations


def examples(*commands: str) -> str:
    """Return them as an epilog, a line each."""
    return "\n\n".join([f"Example{'s' if len(commands) > 1 else ''}:", *(f"$ {command}" for command in commands)])
