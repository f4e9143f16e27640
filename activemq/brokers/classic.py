"""ActiveMQ Classic 5.19 and 6.x. Facts run on 6.3.1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Classic:
    """See :class:`activemq.brokers.profile.Profile`."""

    kind: str = "classic"

    def recognises(self, server: str) -> bool:
        return server.startswith("ActiveMQ/")  # Artemis says ActiveMQ-Artemis/…

    def queue(self, name: str) -> str:
        return f"/queue/{name}"

    def consume(self, name: str, prefetch: int = 1) -> Mapping[str, str]:
        # The default prefetch of 1000 gives the first worker everything; 0 never delivers to STOMP.
        return {"destination": self.queue(name), "ack": "client-individual", "activemq.prefetchSize": str(prefetch)}

    def replies(self, name: str) -> Mapping[str, str]:
        return {"destination": self.reply_to(name), "ack": "auto"}

    def reply_to(self, name: str) -> str:
        # Real temporary destinations, made at first mention and purged with the connection that named them.
        return f"/temp-queue/{name}"

    def durable_reply_to(self, name: str) -> str:
        return self.queue(name)

    def topic(self, name: str) -> str:
        return f"/topic/{name}"

    def expiry(self, deadline_ms: int, budget_ms: int) -> tuple[str, str]:  # noqa: ARG002 - other brokers want the TTL
        return "expires", str(deadline_ms)


CLASSIC: Final = Classic()
