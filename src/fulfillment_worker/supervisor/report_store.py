"""What the children reported last: written by the supervisor's loop, read by the server's thread.

Nothing here waits for a child: a scrape and a probe are answered from what is there.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from fulfillment_worker.supervisor.merge import Seat, retire
from fulfillment_worker.supervisor.messages import Report
from fulfillment_worker.supervisor.snapshot import Snapshot


class SeatReports(msgspec.Struct, frozen=True):
    """One seat. gone: what remains of those who sat there. reports: of those who do, by pid."""

    gone: Snapshot = Snapshot()
    reports: Mapping[int, Report] = {}


class ReportStore:
    """Safe without locks: what is read is replaced as a whole, and never changed."""

    def __init__(self, seats: int) -> None:
        self._by_seat = {str(number): SeatReports() for number in range(seats)}

    @property
    def names(self) -> list[str]:
        """The names of the seats, in their order."""
        return list(self._by_seat)

    def report(self, seat: str, pid: int, report: Report) -> None:
        """A process reported."""
        was = self._by_seat[seat]
        self._put(seat, SeatReports(was.gone, {**was.reports, pid: report}))

    def ended(self, seat: str, pid: int) -> None:
        """A process has ended: what it counted remains."""
        was = self._by_seat[seat]
        if pid in was.reports:
            gone = retire(was.gone, was.reports[pid].snapshot)
            others = {each: report for each, report in was.reports.items() if each != pid}
            self._put(seat, SeatReports(gone, others))

    def reports(self) -> dict[str, list[Report]]:
        """The last report of each process of each seat, the newest process last."""
        return {name: list(s.reports.values()) for name, s in self._by_seat.items()}

    def seats(self) -> dict[str, Seat]:
        """The same, for the metrics."""
        return {
            name: Seat(s.gone, tuple(report.snapshot for report in s.reports.values()))
            for name, s in self._by_seat.items()
        }

    def _put(self, seat: str, reports: SeatReports) -> None:
        self._by_seat = {**self._by_seat, seat: reports}
