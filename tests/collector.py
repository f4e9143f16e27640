"""A collector of traces as small as can be: takes OTLP over HTTP, keeps what it is told."""

from __future__ import annotations

import gzip
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PATIENCE = 30.0  # seconds; a bound for what happens within the exporters' few


@dataclass(frozen=True)
class Told:
    """A span as it arrived; ids in hex."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    headers: dict[str, str]  # of the request that brought it


class Collector:
    """``with Collector() as collector``: ``url`` is what settings call the endpoint."""

    def __init__(self) -> None:
        self._spans: list[Told] = []
        self._changed = threading.Condition()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer._take(
                    self.path, gzip.decompress(body) if self.headers["content-encoding"] else body, self.headers
                )
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _take(self, path: str, body: bytes, headers: Any) -> None:
        assert path == "/v1/traces"
        request = ExportTraceServiceRequest.FromString(body)
        with self._changed:
            for resource in request.resource_spans:
                named = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                        self._spans.append(Told(named["service.name"], span.name, *ids, dict(headers)))
            self._changed.notify_all()

    def wait_for(self, number: int) -> list[Told]:
        """Wait for that many spans, and return all."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._spans) >= number, PATIENCE), self._spans
            return list(self._spans)
