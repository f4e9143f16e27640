"""Messages of JMS clients, as far as STOMP shows them. No I/O.

STOMP knows texts and bytes. Of a Map, Object or Stream message both ActiveMQs give a STOMP client something that looks
like a text, and Classic's own way to ask for more would let one such message end our connection
(docs/decisions/0020-foreign-replies.md). What can be told is who sent it: STOMP clients send only texts and bytes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from activemq.frames import Frame

# Classic: CONNECTION:SESSION:PRODUCER:NUMBER. What came by STOMP is of session -1 (class ProtocolConverter), a JMS
# client counts its sessions from 1 [6.3.1].
_CLASSIC_ID: Final = re.compile(r"ID:.+:[1-9][0-9]*:[0-9]+:[0-9]+")
# Artemis: the property by which a CORE client's messages carry its client id [2.57].
_CORE_CLIENT: Final = "__AMQ_CID"


def unreadable(frame: Frame) -> bool:
    """Say whether a message is, or may be, a Map, Object or Stream message of a JMS client.

    An empty text of such a client looks the same, and so does a Message without a body: true for these too.
    """
    if not frame.body:
        return frame.raw("content-length") is None and _is_of_jms(frame)
    # Artemis makes a text of a map: it reads a count and then lengths as if they were a string's.
    return frame.body[0] == 0 and _is_core_text(frame)


def _is_core_text(frame: Frame) -> bool:
    """Say whether Artemis took a CORE client's message for a text.

    Of these both a text and bytes have a ``content-length``, unless they are empty. That of a text stands behind the
    other headers, that of bytes before them [2.57].
    """
    if frame.raw(_CORE_CLIENT) is None:
        return False
    names = list(frame.headers)
    return "content-length" not in names or names.index("content-length") > names.index("message-id")


def _is_of_jms(frame: Frame) -> bool:
    if frame.raw(_CORE_CLIENT) is not None:
        return True
    return _CLASSIC_ID.fullmatch(frame.get("message-id") or "") is not None
