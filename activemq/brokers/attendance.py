"""Who listens: what a broker tells of the consumers of a destination."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attendance:
    """One word of the broker about the consumers of one destination.

    ``names``: the destination, as it was subscribed to: one name, or several, or patterns with ``*`` (one part
    between dots) and ``>`` (the rest). ``is_topic``: names of topics, else of queues. ``listeners``: how many there
    are now, as far as the broker knows; for patterns the broker adds up what it should not, so it says little.
    ``certain``: an answer to a question, so not older than that; else the word that somebody came or went, which can
    be older than another that came before it.
    """

    names: tuple[str, ...]
    listeners: int
    is_topic: bool = False
    certain: bool = False

    @property
    def exact(self) -> bool:
        """Whether this is of one destination by its own name."""
        return len(self.names) == 1 and "*" not in self.names[0] and ">" not in self.names[0]

    def covers(self, name: str) -> bool:
        """Say whether a consumer of these names gets messages of the destination ``name``."""
        return any(_matches(pattern, name) for pattern in self.names)


def _matches(pattern: str, name: str) -> bool:
    if pattern == name:
        return True
    parts = name.split(".")
    for at, wanted in enumerate(pattern.split(".")):
        if wanted == ">":
            return True
        if at == len(parts) or wanted not in ("*", parts[at]):
            return False
    return pattern.count(".") + 1 == len(parts)
