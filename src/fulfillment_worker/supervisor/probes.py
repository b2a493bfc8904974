"""What the probes of a supervisor answer, for all of its processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from fulfillment_worker.observability.health import Health
from fulfillment_worker.supervisor.messages import Report

SILENT = 5.0
"""Seconds without a report after which a process counts as stuck. It reports once a second, from
a thread: a busy interpreter delays that, but not for so long."""

Verdict = tuple[bool, str]
Reports = Mapping[str, Sequence[Report]]


class FleetHealth:
    """See Probed. own: of the supervisor. reports: asked each time; it must not wait."""

    def __init__(
        self,
        own: Health,
        reports: Callable[[], Reports],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own = own
        self._reports = reports
        self._clock = clock
        self._draining = False

    def draining(self) -> None:
        """The supervisor was told to stop."""
        self._draining = True

    def livez(self) -> Verdict:
        """Whether every loop turns, and the names of those that don't."""
        good, why = self._own.livez()
        return livez(self._reports(), self._clock()) if good else (False, f"supervisor: {why}")

    def readyz(self) -> Verdict:
        """Whether any process takes orders, and what keeps the others from it."""
        if self._draining:
            return False, "draining"
        return readyz(self._reports(), self._clock())


def livez(reports: Reports, now: float) -> Verdict:
    """now: seconds of the reports' clock."""
    verdicts = {name: [_live(each, now) for each in seat] for name, seat in reports.items()}
    stuck = [
        f"process {name}: {why}"
        for name, seat in verdicts.items()
        for good, why in seat
        if not good
    ]
    return (False, "; ".join(stuck)) if stuck else (True, "ok")


def readyz(reports: Reports, now: float) -> Verdict:
    """now: seconds of the reports' clock."""
    verdicts = {name: _seat_ready(seat, now) for name, seat in reports.items()}
    told = (f"process {name}: {why}" for name, (_, why) in verdicts.items() if why != "ok")
    kept = "; ".join(told)
    many = sum(good for good, _ in verdicts.values())
    if not many:
        return False, kept
    return True, f"ok, {many} of {len(verdicts)}; {kept}" if kept else "ok"


def _seat_ready(seat: Sequence[Report], now: float) -> Verdict:
    """One that drains beside a successor that takes orders doesn't count against it."""
    verdicts = [_ready(report, now) for report in seat]
    good = next((verdict for verdict in verdicts if verdict[0]), None)
    return good or (verdicts[-1] if verdicts else (False, "starting"))


def _ready(report: Report, now: float) -> Verdict:
    live = _live(report, now)
    return report.ready if live[0] else live


def _live(report: Report, now: float) -> Verdict:
    silent = now - report.at
    if silent > SILENT:
        return False, f"stuck: it has not reported for {silent:.1f} s"
    return report.live
