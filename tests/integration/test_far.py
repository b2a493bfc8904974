"""A Redis far away is reached by every kind of address, at first and after each loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.far import KINDS, far_away
from tests.support.orders import bodies, place, wait_until_all
from tests.support.process import run_cli
from tests.support.worker import RunningWorker

ONE_WAY = 0.25
"""Seconds: half a second for each round trip."""


@pytest.mark.parametrize("kind", KINDS)
def test_latency_of_half_a_second_keeps_no_worker_from_its_orders(
    tmp_path: Path, run_worker: Callable[..., RunningWorker], kind: str
) -> None:
    with far_away(tmp_path / "far", kind, ONE_WAY) as far:
        worker = run_worker(far.url)
        worker.wait_until_ready()
        place(far.server, bodies(3, "A"))
        wait_until_all(far.server, bodies(3, "A"))
        assert worker.events("redis_lost") == []
        far.cut()
        place(far.server, bodies(3, "B"))
        wait_until_all(far.server, bodies(3, "B"))
        done = run_cli("queue", "--json", "--redis-url", far.url)
        assert (done.returncode, done.stderr) == (0, "")
        assert worker.terminate() == 0
