"""For unit tests: a broker in memory, ours and our users' (docs/testing-with-fakebroker.md)."""

from activemq.testing.broker import FakeBroker
from activemq.testing.session import Received
from activemq.testing.store import Message

__all__ = ["FakeBroker", "Message", "Received"]
