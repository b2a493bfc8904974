"""What Python and the kernel know about this process, read when a page is rendered.

Reading it all takes 0.1 ms a page. Between pages only the garbage collector's pauses cost
anything: a microsecond per collection.
"""

from __future__ import annotations

import gc
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fulfillment_worker.observability import catalogue_runtime as c
from fulfillment_worker.observability.plain import PlainHistogram
from fulfillment_worker.observability.spec import MetricSpec

_STAT = Path("/proc/self/stat")
# Position of num_threads in proc(5)'s stat, counted after the command's closing parenthesis.
_NUM_THREADS = 17


class RuntimeMetrics:
    """Registers the runtime's collectors; `install` starts the measurement of GC pauses.

    on_fault: called where a collector raised; its metrics are then missing from that page only.
    """

    def __init__(self, registry: CollectorRegistry, on_fault: Callable[[], None]) -> None:
        self._pauses = GcPauses()
        # None: they would register themselves, without the guard.
        unregistered = CollectorRegistry()
        collectors: tuple[Collector, ...] = (
            ProcessCollector(registry=None),
            PlatformCollector(registry=None),
            GCCollector(registry=unregistered),
            _Runtime(),
            self._pauses.histogram,
        )
        for collector in collectors:
            registry.register(_Guarded(collector, on_fault))

    def install(self) -> None:
        """Start to measure GC pauses. Idempotent."""
        if self._pauses not in gc.callbacks:
            gc.callbacks.append(self._pauses)

    def uninstall(self) -> None:
        """Stop to measure GC pauses. Idempotent."""
        if self._pauses in gc.callbacks:
            gc.callbacks.remove(self._pauses)


class GcPauses:
    """A `gc` callback that adds up for how long each generation's collections took.

    Collections don't nest, and nothing else runs Python code meanwhile, so one start time is
    enough, and plain numbers are.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.histogram = PlainHistogram(c.GC_PAUSE)
        self._pauses = [self.histogram.series(generation) for generation in c.GENERATIONS]
        self._clock = clock
        self._started: float | None = None

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        """Called by the collector, before ("start") and after ("stop") it works."""
        if phase == "start":
            self._started = self._clock()
        elif self._started is not None:
            self._pauses[info["generation"]].observe(self._clock() - self._started)
            self._started = None


class _Guarded(Collector):
    """A collector whose faults cost its own metrics, not the page."""

    def __init__(self, collector: Collector, on_fault: Callable[[], None]) -> None:
        self._collector = collector
        self._on_fault = on_fault

    def collect(self) -> Iterable[Metric]:
        try:
            return list(self._collector.collect())
        except Exception:  # noqa: BLE001 - one bad collector must not take the page away
            self._on_fault()
            return []


class _Runtime(Collector):
    def collect(self) -> Iterable[Metric]:
        threads = _kernel_threads()
        if threads is not None:
            yield _gauge(c.PROCESS_THREADS, threads)
        yield _gauge(c.PYTHON_THREADS, threading.active_count())
        yield _gauge(c.ALLOCATED_BLOCKS, sys.getallocatedblocks())
        yield _context_switches()


def _kernel_threads() -> int | None:
    try:
        fields = _STAT.read_bytes().rpartition(b")")[2].split()
    except OSError:  # not Linux, or no descriptor left
        return None
    return int(fields[_NUM_THREADS])


def _context_switches() -> Metric:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spec = c.CONTEXT_SWITCHES
    family = CounterMetricFamily(spec.name, spec.help, labels=spec.labels)
    family.add_metric(["voluntary"], usage.ru_nvcsw)
    family.add_metric(["involuntary"], usage.ru_nivcsw)
    return family


def _gauge(spec: MetricSpec, value: float) -> Metric:
    return GaugeMetricFamily(spec.name, spec.help, value=value)
