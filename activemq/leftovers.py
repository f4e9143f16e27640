"""What UNSUBSCRIBE leaves behind, for brokers that keep unacknowledged messages with the connection. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activemq.frames import encode

if TYPE_CHECKING:
    from activemq.brokers import Profile
    from activemq.frames import Frame


class Leftovers:
    """The unacknowledged messages of one connection, by subscription, and how to give them to others.

    All frames from the broker must be shown to it, in their order.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._held: dict[str, dict[str, None]] = {}  # `ack` headers by subscription, in the order of their coming
        self._ended: set[str] = set()
        self._last = ""  # the last delivery's name

    def took(self, frame: Frame) -> bytes:
        """Note a MESSAGE or an ERROR; return what is to be sent for it."""
        if frame.command == "ERROR":
            found = self._profile.undelivered(frame, self._last)
            if found is None:
                return b""
            ended, self._last = found
            return self._hand_back(ended, [self._last])
        self._last = frame.get("message-id") or self._last
        ack, subscription = frame.get("ack"), frame.get("subscription")
        if ack is None or subscription is None:  # it needs no acknowledgement
            return b""
        if subscription in self._ended:  # it slipped in while the subscription was there again, see hand_back()
            return self._hand_back(subscription, [ack])
        self._held.setdefault(subscription, {})[ack] = None
        return b""

    def acknowledged(self, frame: Frame) -> None:
        """Note that an ACK was sent."""
        self._held.get(frame.get("subscription") or "", {}).pop(frame.get("ack") or "", None)

    def begun(self, subscription: str) -> None:
        """Note a SUBSCRIBE."""
        self._ended.discard(subscription)

    def ended(self, subscription: str) -> bytes:
        """Note an UNSUBSCRIBE; return what is to be sent after it."""
        self._ended.add(subscription)
        held = self._held.pop(subscription, {})
        return self._hand_back(subscription, list(held)) if held else b""

    def _hand_back(self, subscription: str, acks: list[str]) -> bytes:
        frames = self._profile.hand_back(subscription, acks)
        return b"".join(encode(command, headers.items()) for command, headers in frames)
