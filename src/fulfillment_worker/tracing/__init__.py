"""Traces: a span for each attempt, exported by OpenTelemetry's SDK (the extra `otel`).

`tracing.start.Tracing` sets the SDK up and wraps the loaded handler. Where traces are off, nothing
of this is imported, and an attempt costs what it costs without it.
"""
