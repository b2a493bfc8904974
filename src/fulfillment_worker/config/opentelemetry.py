"""Whether OpenTelemetry's environment variables ask for traces.

How they are made and where they go, its SDK reads from the same variables by itself.
"""

from __future__ import annotations

from collections.abc import Mapping

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def wants_traces(environ: Mapping[str, str]) -> bool:
    """Whether a place for them is named, and they aren't turned off."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporters:
        return "otlp" in exporters.split(",")
    return any(environ.get(name, "").strip() for name in _ENDPOINTS)
