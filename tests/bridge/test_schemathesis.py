"""Schemathesis, which knows nothing of us, holds a real bridge against the document that it serves."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from activemq.testing import FakeBroker
from bridge.schema import BodySchema
from bridge.settings import Route
from consumers import Request, Worker
from tests.bridge.harness import running, settings_for
from tests.bridge.workers import working

if TYPE_CHECKING:
    from pathlib import Path

ORDER = BodySchema(
    {
        "type": "object",
        "required": ["sku", "count"],
        "additionalProperties": False,
        "properties": {
            "sku": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{4}$"},
            "count": {"type": "integer", "minimum": 1, "maximum": 100},
            "note": {"$ref": "#/$defs/note"},
            "parts": {"type": "array", "maxItems": 3, "items": {"$ref": "#"}},
        },
        "$defs": {"note": {"type": ["string", "null"], "maxLength": 20}},
    }
)
ROUTES = (
    Route(name="echo", path="/echo", queue="echo", methods={"POST", "PUT"}, accepts=("application/json", "text/plain")),
    Route(name="item", path="/shops/{shop}/items/{item}", queue="echo", methods={"GET", "DELETE", "HEAD"}),
    Route(
        name="order",
        path="/orders",
        queue="echo",
        accepts=("application/json",),
        schema_=ORDER,
        async_="never",
        idempotency="off",
        max_body=4096,
    ),
    Route(name="keyed", path="/keyed", queue="echo", idempotency="required", methods={"PATCH"}),
)
"""


