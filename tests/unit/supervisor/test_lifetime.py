"""When a process has done its share."""

from __future__ import annotations

from fulfillment_worker.supervisor.lifetime import ProcessLimits, exceeded
from tests.unit.supervisor.support import having_run


def test_without_limits_nothing_wears_out() -> None:
    assert exceeded(ProcessLimits(), having_run(3), 1e9) is None


def test_after_so_many_attempts() -> None:
    assert exceeded(ProcessLimits(orders=3), having_run(2), 1.0) is None
    why = exceeded(ProcessLimits(orders=3), having_run(3), 1.0)
    assert why == "it has run 3 attempts, and --max-orders-per-process is 3"


def test_above_so_much_memory() -> None:
    """The snapshot is of this very process: more than a mebibyte, and less than 64 GiB."""
    assert exceeded(ProcessLimits(rss=64 * 1024**3), having_run(0), 60.0) is None
    assert "--max-rss-per-process is 1048576" in str(
        exceeded(ProcessLimits(rss=1024**2), having_run(0), 60.0)
    )


def test_one_that_is_too_large_from_the_start_is_not_replaced_all_the_time() -> None:
    assert exceeded(ProcessLimits(rss=1024**2), having_run(0), 1.0) is None
