"""For callers in Python: httpx that finds a bridge that answers, waits for jobs and reads their events.

Needs httpx and nothing else of this project: nothing of the bridge itself is loaded. See docs/client.md.
"""

from bridge.client.auth import BearerKey
from bridge.client.blocking import BridgeClient, Job
from bridge.client.concurrent import AsyncBridgeClient, AsyncJob
from bridge.client.errors import EventStreamError, JobError, problem_of
from bridge.client.events import Event, EventReader, aiter_events, iter_events
from bridge.client.jobs import new_key
from bridge.client.transport import AsyncBridgeTransport, BridgeTransport

__all__ = [
    "AsyncBridgeClient",
    "AsyncBridgeTransport",
    "AsyncJob",
    "BearerKey",
    "BridgeClient",
    "BridgeTransport",
    "Event",
    "EventReader",
    "EventStreamError",
    "Job",
    "JobError",
    "aiter_events",
    "iter_events",
    "new_key",
    "problem_of",
]
