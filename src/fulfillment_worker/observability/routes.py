"""What each path of the metrics port answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import h11

from fulfillment_worker.observability.health import Probed
from fulfillment_worker.observability.metric_pages import Page, PageRequest, page_request

_METRICS_PATH = "/metrics"
_METHODS = ("GET", "HEAD")
_ORIGIN = re.compile(r"\Ahttps?://[^/?#]+", re.IGNORECASE)

Probe = Callable[[], Page]


def probes(health: Probed) -> Mapping[str, Probe]:
    """The paths other than the metrics', and what gives their answers."""
    return {
        "/health": lambda: text(200, "ok"),
        "/livez": lambda: _verdict(*health.livez()),
        "/readyz": lambda: _verdict(*health.readyz()),
    }


def answer(
    request: h11.Request, probes: Mapping[str, Probe], *, bodiless: bool
) -> Page | PageRequest:
    """The answer; a PageRequest where it is a page of metrics, which must be rendered."""
    # A proxy may ask with the whole URL (RFC 9112, 3.2.2).
    target = _ORIGIN.sub("", request.target.decode("ascii", "replace"))
    path, _, query = target.partition("?")
    probe = probes.get(path)
    if probe is None and path != _METRICS_PATH:
        return text(404, "there is no such page")
    if request.method.decode("ascii", "replace") not in _METHODS:
        allow = ", ".join(_METHODS)
        return text(405, f"use {allow}", ("Allow", allow))
    if probe is not None:
        return probe()
    if not bodiless:
        return text(413, "send no body")
    return page_request(query, _header(request, b"accept"), _header(request, b"accept-encoding"))


def text(status: int, line: str, *headers: tuple[str, str]) -> Page:
    """An answer of one line of plain text."""
    content = ("Content-Type", "text/plain; charset=utf-8")
    return Page(status, (content, *headers), f"{line}\n".encode(errors="replace"))


def _verdict(good: bool, why: str) -> Page:
    return text(200 if good else 503, why)


def _header(request: h11.Request, wanted: bytes) -> str:
    """A header that is a list, from all its lines (RFC 9110, 5.3)."""
    return b",".join(value for name, value in request.headers if name == wanted).decode("latin-1")
