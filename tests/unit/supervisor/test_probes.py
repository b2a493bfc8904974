"""What the probes say of several processes."""

from __future__ import annotations

from fulfillment_worker.observability.health import Health
from fulfillment_worker.supervisor.probes import SILENT, FleetHealth, livez, readyz
from tests.unit.supervisor.support import report

NOW = 100.0
DRAINING = (False, "draining")
STUCK = (False, "stuck: the event loop has not turned for 3.0 s")


def test_all_is_well() -> None:
    reports = {"0": [report()], "1": [report()]}
    assert livez(reports, NOW) == (True, "ok")
    assert readyz(reports, NOW) == (True, "ok")


def test_one_that_consumes_is_enough_and_the_others_are_told_of() -> None:
    reports = {"0": [report()], "1": [report(ready=(False, "queue orders: no Redis"))], "2": []}
    assert readyz(reports, NOW) == (
        True,
        "ok, 1 of 3; process 1: queue orders: no Redis; process 2: starting",
    )


def test_none_that_consumes_is_too_few() -> None:
    reports = {"0": [report(ready=(False, "queue orders: no Redis"))], "1": []}
    assert readyz(reports, NOW) == (
        False,
        "process 0: queue orders: no Redis; process 1: starting",
    )


def test_a_stuck_loop_is_named() -> None:
    reports = {"0": [report()], "1": [report(live=STUCK, ready=STUCK)]}
    assert livez(reports, NOW) == (False, f"process 1: {STUCK[1]}")
    assert readyz(reports, NOW) == (True, f"ok, 1 of 2; process 1: {STUCK[1]}")


def test_one_that_does_not_report_is_stuck() -> None:
    """It may have been stopped, or hold the interpreter's lock: its last report says that all is
    well, and must not be believed any more."""
    reports = {"0": [report(NOW - SILENT - 0.5)]}
    assert livez(reports, NOW) == (False, "process 0: stuck: it has not reported for 5.5 s")
    assert not readyz(reports, NOW)[0]
    assert livez({"0": [report(NOW - SILENT)]}, NOW)[0]


def test_a_seat_that_nobody_takes_is_not_stuck() -> None:
    """A restart of everything would not help: the seat is taken again in a moment."""
    assert livez({"0": [report()], "1": []}, NOW) == (True, "ok")


def test_one_that_drains_beside_its_successor_does_not_count_against_it() -> None:
    reports = {"0": [report(ready=DRAINING), report()]}
    assert readyz(reports, NOW) == (True, "ok")
    assert not livez({"0": [report(live=STUCK), report()]}, NOW)[0]


def test_the_supervisor_itself_may_be_stuck_or_drain() -> None:
    own = Health(stuck_after=1.0, clock=lambda: NOW)
    health = FleetHealth(own, lambda: {"0": [report()]}, clock=lambda: NOW)
    assert health.livez() == (True, "ok"), "before the first turn nothing is stuck"
    own.looped(NOW)
    assert health.livez() == (True, "ok")
    own.looped(NOW - 2)
    assert health.livez()[1].startswith("supervisor: stuck")
    assert health.readyz() == (True, "ok")
    health.draining()
    assert health.readyz() == (False, "draining")


def test_remark_of_a_process_that_is_ready_is_told() -> None:
    remark = (True, "ok; the breaker is open, since nearly all attempts fail")
    reports = {"0": [report()], "1": [report(ready=remark)]}
    assert readyz(reports, NOW) == (True, f"ok, 2 of 2; process 1: {remark[1]}")
