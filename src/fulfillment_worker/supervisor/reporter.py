"""Reports of a child to its supervisor: once a second, and at once when something has changed.

They are made in a thread, so that a child whose loop is blocked still reports, and says so. A
supervisor that doesn't listen holds up this thread and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fulfillment_worker.core.events import (
    Event,
    LeaseLost,
    QueueLost,
    QueueRegained,
    ResourcesUnready,
    WorkerDraining,
    WorkerStarted,
)
from fulfillment_worker.observability.health import Health
from fulfillment_worker.observability.metrics import Metrics
from fulfillment_worker.supervisor.messages import ChildsEnd, Report
from fulfillment_worker.supervisor.snapshot import take
from fulfillment_worker.system.signals import leave_signals_to_the_main_thread
from fulfillment_worker.system.threads import start_thread

INTERVAL = 1.0
"""Seconds between two reports: half a millisecond each, so that no order notices."""
_REPORTED = (QueueLost, QueueRegained, LeaseLost, ResourcesUnready, WorkerStarted, WorkerDraining)
"""Events that are reported at once."""
_LAST_WORD = 1.0
"""Seconds that the last report may take."""


class Reporter:
    """An observer, too: what changes the answers of the probes is reported at once.

    Order of calls: `start`, then `nudge` as often as wanted, `finish`.
    """

    def __init__(self, line: ChildsEnd) -> None:
        self._line = line
        self._nudged = threading.Event()
        self._finished = False
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._metrics: Metrics
        self._health: Health
        self._names: Callable[[], dict[str, str]]

    def start(self, metrics: Metrics, health: Health, names: Callable[[], dict[str, str]]) -> None:
        """Report, and go on reporting.

        names: for each queue, under which orders are held. The supervisor knows them when this
        returns, so it can give back whatever is claimed from then on. Raises Shortage.
        """
        self._metrics, self._health, self._names = metrics, health, names
        self._line.send(self._report())
        start_thread(self._thread)

    def nudge(self) -> None:
        """Report now."""
        self._nudged.set()

    def observe(self, event: Event) -> None:
        """See Observer."""
        if isinstance(event, _REPORTED):
            self.nudge()

    def finish(self) -> None:
        """Report for the last time."""
        if self._thread.is_alive():
            self._finished = True
            self.nudge()
            self._thread.join(_LAST_WORD)

    def _run(self) -> None:
        leave_signals_to_the_main_thread()
        while not self._finished:
            self._nudged.wait(INTERVAL)
            self._nudged.clear()
            if not self._say():
                return
        self._say()  # what came after the last one was begun

    def _say(self) -> bool:
        try:
            return self._line.send(self._report())
        except Exception:  # noqa: BLE001 - the next report may do better; orders go on
            self._metrics.faulted()
            return True

    def _report(self) -> Report:
        return Report(
            at=time.monotonic(),
            turned=self._health.turned,
            names=self._names(),
            live=self._health.livez(),
            ready=self._health.readyz(),
            snapshot=take(self._metrics.registry),
        )
