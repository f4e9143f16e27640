"""Schemathesis, which knows nothing of us, holds a real bridge against the document that it serves."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from activemq.testing import FakeBroker
from bridge.schema import BodySchema
from bridge.settings import Route
from consumers import Request, Worker
from tests.bridge.harness import client_for, running, settings_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
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
BROKEN = (
    Route(name="nobody", path="/nobody", queue="nobody"),
    Route(name="bad", path="/bad", queue="bad", async_="never"),
)
SECONDS = 12  # of a run; what is under way then may finish
CHECKS = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "negative_data_rejection",
)


def strict(document: dict[str, Any]) -> dict[str, Any]:
    """The document without what lets a worker answer whatever it likes: these workers answer 200."""
    for methods in document["paths"].values():
        for operation in methods.values():
            responses = operation["responses"]
            if responses.pop("default", None) is not None:
                responses["200"] = responses.pop("2XX")
    for response in document["components"]["responses"].values():
        response["content"].pop("*/*", None)
    return document


def echo_worker() -> Worker:
    worker = Worker()

    @worker.handler("echo")
    async def echo(request: Request) -> bytes:
        return request.body

    @worker.handler("bad")
    async def bad(request: Request) -> bytes:
        raise RuntimeError("as the test asks")

    return worker


@asynccontextmanager
async def at_work(broker: FakeBroker) -> AsyncIterator[None]:
    stop, ready = asyncio.Event(), asyncio.Event()
    work = asyncio.create_task(echo_worker().run(client_for(broker), 8, stop, ready.set))
    await asyncio.wait([work, asyncio.create_task(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
    try:
        yield
    finally:
        stop.set()
        await work


async def schemathesis(document: dict[str, Any], port: int, folder: Path, *options: str) -> tuple[int, str]:
    """Run it as a process of its own; return its exit code and what it printed."""
    (folder / "openapi.json").write_text(json.dumps(document))
    arguments = [
        *("run", str(folder / "openapi.json"), "--url", f"http://127.0.0.1:{port}", "--checks", ",".join(CHECKS)),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", "40", "--seed", "1", "--max-time", str(SECONDS)),
        *("--continue-on-failure", "--no-shrink", "--suppress-health-check", "all", "--warnings", "off", *options),
    ]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", *arguments),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.mark.slow
async def test_no_call_gets_an_answer_that_the_document_does_not_foresee(implementation, tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)  # a handler that fails says so, each time
    async with (
        FakeBroker() as broker,
        at_work(broker),
        running(settings_for(broker, ROUTES + BROKEN), implementation) as bridge,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{bridge.port}") as client,
    ):
        document = (await client.get("/openapi.json")).json()
        code, output = await schemathesis(strict(document), bridge.port, tmp_path)
        assert code == 0, output
        assert "Test cases" in output
        await bridge.at_rest()
