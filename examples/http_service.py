"""An HTTP service that knows nothing of queues, for the sidecar to forward to.

python http_service.py 9000
mqbridge forward --queue orders http://127.0.0.1:9000 --concurrency 8
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Orders(BaseHTTPRequestHandler):
    """Answers POST with what it was sent."""

    protocol_version = "HTTP/1.1"  # keeps connections open

    def do_POST(self) -> None:
        """Say what came, and which call it was."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = {"path": self.path, "received": body.decode(), "call": self.headers["Correlation-Id"]}
        data = json.dumps(answer).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Orders)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
