"""The sample workers of the README and of `mqbridge demo`: ``consumers.demo:worker``."""

from __future__ import annotations

from consumers.demo.samples import worker

__all__ = ["worker"]
