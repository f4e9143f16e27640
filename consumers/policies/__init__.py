"""What a slot holds to besides running its handler: small rules, each alone readable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from consumers.policies.cancellations import Cancellations
from consumers.policies.started import Started

if TYPE_CHECKING:
    from activemq import Client


@dataclass(frozen=True, slots=True)
class Policies:
    """What all slots of a worker share."""

    cancellations: Cancellations
    started: Started

    @classmethod
    def of(cls, client: Client, name: str) -> Self:
        """Make them for a client that is not started yet; ``name``: the worker's."""
        return cls(Cancellations(client), Started(client, name))
