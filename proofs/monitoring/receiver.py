"""Where Alertmanager's notifications arrive."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Notification(NamedTuple):
    """One alert of a notification. route: the path that it came to. at: monotonic seconds."""

    at: float
    route: str
    firing: bool
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def name(self) -> str:
        return self.labels["alertname"]


class Receiver:
    """A web server on loopback that keeps all notifications. port: where it listens."""

    def __init__(self) -> None:
        self._notifications: list[Notification] = []
        kept = self._notifications

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                at = time.monotonic()
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                kept.extend(_notification(at, self.path, alert) for alert in body["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def of(self, job: str, name: str = "", since: float = 0.0) -> list[Notification]:
        """What came for a job since then, oldest first; of one alert where `name` is given."""
        return [
            each
            for each in list(self._notifications)
            if each.labels.get("job") == job and name in ("", each.name) and each.at >= since
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def _notification(at: float, path: str, alert: dict[str, dict[str, str]]) -> Notification:
    firing = str(alert["status"]) == "firing"
    return Notification(at, path, firing, alert["labels"], alert["annotations"])
