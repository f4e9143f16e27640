"""Doing the work: workers that take request messages, run a handler, and reply. Knows nothing of the bridge."""

from consumers.reply import Reply
from consumers.request import Request
from consumers.worker import Worker

__all__ = ["Reply", "Request", "Worker"]
