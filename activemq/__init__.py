"""Talking to a broker: STOMP 1.2 in the hands of asyncio, and a real ActiveMQ as a child process.

This package knows nothing of HTTP. What users import is named here, in :mod:`activemq.testing` and in
:mod:`activemq.embedded`.
"""

from activemq.client import Backoff, Client, Clock, Credentials, Server, Subscription
from activemq.errors import ActiveMQError
from activemq.frames import Frame, Limits
from activemq.message import ReplyMessage, RequestEncoder, RequestMessage, encode_reply

__all__ = [
    "ActiveMQError",
    "Backoff",
    "Client",
    "Clock",
    "Credentials",
    "Frame",
    "Limits",
    "ReplyMessage",
    "RequestEncoder",
    "RequestMessage",
    "Server",
    "Subscription",
    "encode_reply",
]
