"""What is known of each seat, whoever sits there."""

from __future__ import annotations

from fulfillment_worker.supervisor.merge import Seat
from fulfillment_worker.supervisor.report_store import ReportStore
from tests.unit.supervisor.support import having_run, report

_KEY = ("orders_processed_total", (("status", "success"),))


def attempts(seat: Seat) -> float:
    parts = (seat.gone, *seat.running)
    return sum(part.series("orders_processed").get(_KEY, 0.0) for part in parts)


def test_the_last_report_of_each_process_counts() -> None:
    store = ReportStore(2)
    store.report("0", 11, report(1.0, snapshot=having_run(1)))
    store.report("0", 11, report(2.0, snapshot=having_run(3)))
    store.report("1", 12, report(3.0, snapshot=having_run(4)))
    assert [attempts(seat) for seat in store.seats().values()] == [3, 4]
    assert [each.at for each in store.reports()["0"]] == [2.0]


def test_what_a_process_counted_stays_with_its_seat() -> None:
    store = ReportStore(1)
    store.report("0", 11, report(snapshot=having_run(3)))
    store.ended("0", 11)
    assert store.reports() == {"0": []}
    store.report("0", 12, report(snapshot=having_run(1)))
    assert attempts(store.seats()["0"]) == 4


def test_a_successor_sits_beside_the_one_that_drains() -> None:
    store = ReportStore(1)
    store.report("0", 11, report(1.0, snapshot=having_run(2)))
    store.report("0", 12, report(2.0, snapshot=having_run(1)))
    store.report("0", 11, report(3.0, snapshot=having_run(3)))
    assert [each.at for each in store.reports()["0"]] == [3.0, 2.0], "the successor is the newest"
    store.ended("0", 11)
    assert attempts(store.seats()["0"]) == 4


def test_one_that_never_reported_leaves_nothing() -> None:
    store = ReportStore(1)
    store.ended("0", 11)
    assert store.seats() == {"0": Seat()}


def test_what_was_read_never_changes() -> None:
    """The server's thread may be in the middle of a page."""
    store = ReportStore(1)
    store.report("0", 11, report(snapshot=having_run(1)))
    read = store.seats()
    store.ended("0", 11)
    assert len(read["0"].running) == 1
