"""What a slot holds to besides running its handler: small rules, each alone readable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from consumers.notices import Unasked
from consumers.policies.cancellations import Cancellations
from consumers.policies.started import Started
from consumers.watchdog import Watchdog

if TYPE_CHECKING:
    from activemq import Client
    from consumers.watchdog import Patience


@dataclass(frozen=True, slots=True)
class Policies:
    """What all slots of a worker share."""

    cancellations: Cancellations
    started: Started
    watchdog: Watchdog | None
    unasked: Unasked

    @classmethod
    def of(cls, client: Client, name: str, patience: Patience | None = None) -> Self:
        """Make them for a client that is not started yet; ``name``: the worker's; ``patience``: None: endless."""
        watchdog = None if patience is None else Watchdog(patience, client.cut)
        return cls(Cancellations(client), Started(client, name), watchdog, Unasked())
