"""Everything that watches a worker: metrics, probes and logs, behind one face."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from logging import INFO

from prometheus_client import CollectorRegistry

from fulfillment_worker.config.settings import Settings
from fulfillment_worker.observability.event_log import EventLog
from fulfillment_worker.observability.health import Health, HealthObserver, Probed
from fulfillment_worker.observability.hooks import Observer, Observers
from fulfillment_worker.observability.listening import NO_SUCH_ADDRESS
from fulfillment_worker.observability.logs import LogHandler, configure, log
from fulfillment_worker.observability.metrics import Metrics
from fulfillment_worker.observability.server import MetricsServer
from fulfillment_worker.observability.ticker import LoopTicker
from fulfillment_worker.runtime.heartbeat import Heartbeat
from fulfillment_worker.runtime.systemd import Systemd
from fulfillment_worker.runtime.version import revision, version
from fulfillment_worker.worker.worker import Worker


class PortTaken(Exception):  # the message is one line for people
    """The metrics port can't be bound."""


class Watch:
    """Observes a worker and tells Prometheus, the probes and the log.

    Order of calls: `logging`, `serving` and `ticking`, each within the former. What happens then,
    it is told as events.
    also: further observers. systemd: what it is told through; port: the one that is served, from
    `serving` on.
    """

    def __init__(self, settings: Settings, *also: Observer, systemd: Systemd | None = None) -> None:
        self._settings = settings
        self.port = settings.metrics_port
        self.metrics = Metrics(settings.queues, settings.concurrency, version(), revision())
        # Stuck well before the lease runs out, so that a probe can tell before orders move.
        self.health = Health(stuck_after=max(1.0, min(2.5, settings.lease / 4)))
        self.systemd = systemd or Systemd()
        self._heartbeat = Heartbeat(settings.lease, self.systemd)
        observers: list[Observer] = [
            self.metrics,
            HealthObserver(self.health),
            self.systemd,
            EventLog(),
            *also,
        ]
        self.tell = Observers(observers, on_fault=self.metrics.faulted).observe

    @contextmanager
    def logging(self) -> Iterator[LogHandler]:
        """Log as the settings say, and count it; at the end, what waits is written."""
        settings, metrics = self._settings, self.metrics
        handler = configure(
            settings.log_level,
            settings.log_format,
            on_log=metrics.logged,
            on_drop=metrics.log_line_dropped,
        )
        try:
            yield handler
        finally:
            handler.close()

    @contextmanager
    def serving(
        self, registry: CollectorRegistry | None = None, health: Probed | None = None
    ) -> Iterator[None]:
        """Serve the metrics port: what is told here, unless told otherwise. Raises PortTaken."""
        host = self._settings.metrics_host
        server = MetricsServer(
            host,
            self._settings.metrics_port,
            registry=registry or self.metrics.registry,
            health=health or self.health,
        )
        try:
            server.bind()
        except OSError as error:
            raise PortTaken(
                f"the metrics port {self._settings.metrics_port} on {host or '*'} can't be bound: "
                f"{_reason(error)}; {_remedy(error)}"
            ) from error
        self.port = server.port
        log(INFO, f"Metrics server starting on port {server.port}", port=server.port)
        server.start()
        try:
            yield
        finally:
            server.stop()

    @asynccontextmanager
    async def ticking(self) -> AsyncIterator[None]:
        """Measure the event loop, the garbage collector and the like."""
        ticker = LoopTicker(self.health, self.metrics, beat=self._heartbeat.beat)
        self.metrics.runtime.install()
        await ticker.start()
        try:
            yield
        finally:
            await ticker.stop()
            self._heartbeat.stop()
            self.metrics.runtime.uninstall()

    def measure(self, worker: Worker) -> None:
        """Show how many attempts of this worker are under way."""
        self.metrics.in_progress_from(lambda: worker.running)


def _reason(error: OSError) -> str:
    # asyncio adds the address to `strerror`, which the line says already. The resolver has numbers
    # of its own, all below 0, which the system has no words for.
    if error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)


def _remedy(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or error.errno in NO_SUCH_ADDRESS:
        return "give an address of this machine as --metrics-host, or * for all"
    if error.errno == errno.EACCES:
        return "give a --metrics-port that this user may take, such as one above 1023"
    return "end what uses it, or give another --metrics-port"
