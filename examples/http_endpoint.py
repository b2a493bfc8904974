"""An endpoint that fulfils the orders posted to it, with nothing but the standard library.

python http_endpoint.py
fulfillment-worker run --handler http://127.0.0.1:8080/orders
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# A real shop has a unique column in its database instead, written in one transaction with the work.
shipped: dict[str, str] = {}
lock = threading.Lock()


class Orders(BaseHTTPRequestHandler):
    """Fulfils each order once, however often it is posted."""

    protocol_version = "HTTP/1.1"  # keeps connections open between orders
    timeout = 60

    def do_POST(self) -> None:
        """Answer with the status alone: 2xx is fulfilled."""
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(ship(order, self.headers["Idempotency-Key"]))
        self.send_header("Content-Length", "0")
        self.end_headers()


def ship(order: dict[str, Any], idempotency_key: str) -> int:
    """204: done. 409: done before. 422: can never be done, so it becomes a dead letter."""
    if not order.get("ship_to"):
        return 422
    with lock:
        if idempotency_key in shipped:
            return 409
        shipped[idempotency_key] = order["ship_to"]
    return 204


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 8080), Orders) as server:
        server.serve_forever()
