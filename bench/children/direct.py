"""The benchmark's handler as a worker for `mqbridge work --http`."""

from __future__ import annotations

from bench.children.work import echo
from consumers import Worker

worker = Worker("bench")
worker.handler("bench.echo")(echo)
