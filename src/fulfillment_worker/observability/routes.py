"""What each path of the metrics port answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fulfillment_worker.observability.health import Probed
from fulfillment_worker.observability.pages import Page

METRICS_PATH = "/metrics"
METHODS = ("GET", "HEAD")

Probe = Callable[[], Page]


def probes(health: Probed) -> Mapping[str, Probe]:
    """The paths other than the metrics', and what gives their answers."""
    return {
        "/health": lambda: text(200, "ok"),
        "/livez": lambda: _verdict(*health.livez()),
        "/readyz": lambda: _verdict(*health.readyz()),
    }


def text(status: int, line: str, *headers: tuple[str, str]) -> Page:
    """An answer of one line of plain text."""
    content = ("Content-Type", "text/plain; charset=utf-8")
    return Page(status, (content, *headers), f"{line}\n".encode(errors="replace"))


def _verdict(good: bool, why: str) -> Page:
    return text(200 if good else 503, why)
