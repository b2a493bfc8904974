"""From no worker to several and back, by the scaler's own queries. More: `make prove-scaling`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from proofs.kubernetes.rounds import Deployment, wait_until_retrying
from tests.support.eventually import eventually
from tests.support.kubernetes import render

MOST = 3


def outstanding() -> str:
    """The query of the scaler that asks the workers."""
    return str(render()["ScaledObject"]["spec"]["triggers"][0]["metadata"]["query"])


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with Deployment(tmp_path / "deployment", render(), MOST) as deployment:
        yield deployment


def test_scaling_up_and_down_recovers_no_order_and_wakes_for_retries(
    deployment: Deployment,
) -> None:
    found = deployment.round(0, orders=600, takes=1.5)
    assert found.reached == MOST
    assert found.woken_by == ["waiting"]
    assert found.retried > 0
    deployment.audit()

    # Taken away by hand: nobody is there when the retry comes due.
    deployment.place([{"order_id": "later", "again": 2}])
    deployment.fleet.scale(1)
    wait_until_retrying(deployment, 1)
    deployment.fleet.scale(0)
    eventually(deployment.leave, what="the worker has drained")
    assert deployment.books.retrying == 1
    # Prometheus has seen that the worker is gone: until then its last word counts.
    eventually(lambda: deployment.prometheus.value(outstanding()) == 0, what="no worker is asked")
    deployment.follow_the_scaler()
    assert deployment.scaler.woken_by[1:] == ["retrying"]
    deployment.audit()


def test_scaling_wakes_a_worker_for_what_a_killed_one_held(deployment: Deployment) -> None:
    deployment.place([{"order_id": "held", "takes": 5}])
    deployment.fleet.scale(1)
    eventually(lambda: deployment.books.in_flight == 1, what="the order is in flight")
    deployment.fleet.kill()
    assert deployment.books.waiting == 0
    deployment.follow_the_scaler()
    assert deployment.scaler.woken_by == ["held"]
    assert deployment.recovered > 0
    assert deployment.books.fulfilled == 1


def test_scaler_query_tells_no_worker_from_workers_that_are_not_reached(
    deployment: Deployment,
) -> None:
    query = outstanding()
    value = deployment.prometheus.value
    eventually(lambda: value(query) == 0, what="0 where there is no worker")
    deployment.place([{"order_id": str(number), "takes": 60} for number in range(7)])
    deployment.fleet.scale(2)
    both = "count(fulfillment_outstanding_orders == 7)"
    eventually(lambda: value(both) == 2, what="both workers report all 7 orders")
    assert value(query) == 7
    deployment.fleet.pause()
    eventually(lambda: value(query) is None, what="no answer while none is reached")
