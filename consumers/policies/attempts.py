"""How often a message may be lost with its worker. Pure.

Brokers do not tell STOMP how often a message was delivered, and Classic would hand one that kills its workers to the
next for ever. So a message that comes again is not run: it goes to the end of its queue as a copy that counts.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from activemq.errors import MessageError
from consumers.answer import has_lost_its_body

if TYPE_CHECKING:
    from activemq.message import RequestMessage

# For requesters that do not say.
DEFAULT_MAX_ATTEMPTS: Final = 10


class Verdict(enum.Enum):
    """What to do with a message that was taken."""

    RUN = "run it"
    AGAIN = "put a copy that counts at the end of the queue"
    LOST = "tell the requester that its worker was lost"
    POISONED = "park it, and tell the requester"


def judge(message: RequestMessage) -> Verdict:
    """Say what to do; raises MessageError for an attempt that is not a number.

    A message whose body is not here, over the worker's limit or lost on its way, is "run" at once, which refuses it: a
    copy would have no body.
    """
    if not message.redelivered or message.frame.oversize or has_lost_its_body(message):
        return Verdict.RUN
    if message.text("redeliver") == "false":
        return Verdict.LOST
    if message.attempt >= (message.number("max_attempts") or DEFAULT_MAX_ATTEMPTS):
        return Verdict.POISONED
    return Verdict.AGAIN


def told(message: RequestMessage) -> list[tuple[str, str]]:
    """Return the properties that tell the requester which attempt was lost; none if the message says nonsense."""
    try:
        return [("attempt", str(message.attempt))]
    except MessageError:
        return []
