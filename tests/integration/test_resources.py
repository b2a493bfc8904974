"""A handler's resources in real workers: made before the first order, closed after the last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from signal import SIGTERM

import pytest

from tests.support.eventually import eventually
from tests.support.orders import order_hash, place, statuses, wait_until_all
from tests.support.process import run_cli
from tests.support.redis_server import RedisServer
from tests.support.worker import RunningWorker

Start = Callable[..., RunningWorker]

SHOP = """
import asyncio, os
from contextlib import asynccontextmanager
from pathlib import Path
from fulfillment_worker import Handler

@asynccontextmanager
async def resources():
    if not Path("database").exists():
        raise ConnectionRefusedError("postgres://shop:hunter2@db/shop is away")
    print("opened", os.getpid(), flush=True)
    yield {"db": "the pool"}
    print("closed", os.getpid(), flush=True)

async def ship(order, db):
    assert db == "the pool"
    if order.id == "slow":
        await asyncio.sleep(600)

fulfil = Handler(ship, resources=resources)
"""
PROCESSES = pytest.mark.parametrize("processes", ["1", "2"])


@PROCESSES
def test_resources_that_are_away_keep_the_worker_from_claiming_and_not_alive(
    processes: str, redis_7: RedisServer, run_worker: Start, tmp_path: Path
) -> None:
    place(redis_7, [{"order_id": "A-1"}])
    worker = run_worker(redis_7.url, SHOP, "--processes", processes)
    eventually(
        lambda: (
            len({told.get("process") for told in worker.events("resources_failed")})
            == int(processes)
        ),
        what="a failure in each process",
    )
    status, why = worker.get("/readyz")
    assert status == 503
    assert "the handler's resources can't be made: ConnectionRefusedError" in why
    assert "hunter2" not in worker.output + why
    assert worker.get("/livez")[0] == 200
    with redis_7.client() as client:
        assert client.llen("orders") == 1
    (tmp_path / "worker-0" / "database").touch()
    wait_until_all(redis_7, [{"order_id": "A-1"}])
    eventually(lambda: worker.get("/readyz")[0] == 200, what="readiness")
    eventually(lambda: len(worker.events("resources_made")) == int(processes), what="all resources")
    assert not worker.events("process_ended")
    assert worker.terminate() == 0
    assert worker.output.count("opened") == worker.output.count("closed") == int(processes)


def test_resources_that_never_come_let_the_worker_stop_at_once(
    redis_7: RedisServer, run_worker: Start
) -> None:
    worker = run_worker(redis_7.url, SHOP)
    eventually(lambda: worker.events("resources_failed"), what="a failure that is told")
    assert worker.terminate() == 0


@PROCESSES
def test_resources_are_closed_after_an_abort(
    processes: str, redis_7: RedisServer, run_worker: Start, tmp_path: Path
) -> None:
    worker = run_worker(redis_7.url, SHOP, "--processes", processes)
    (tmp_path / "worker-0" / "database").touch()
    place(redis_7, [{"order_id": "slow"}])
    eventually(lambda: statuses(redis_7, ["slow"]) == ["processing"], what="a start")
    worker.signal(SIGTERM)
    eventually(lambda: worker.get("/readyz")[1].startswith("draining"), what="the drain")
    worker.signal(SIGTERM)
    assert worker.wait() == 1
    assert worker.output.count("closed") == worker.output.count("opened") == int(processes)


@PROCESSES
def test_resources_that_lack_a_name_end_the_worker_with_the_reason(
    processes: str, redis_7: RedisServer, tmp_path: Path
) -> None:
    (tmp_path / "database").touch()
    (tmp_path / "shop.py").write_text(SHOP.replace('"db":', '"pool":'))
    done = run_cli(
        *("run", "--handler", "shop:fulfil", "--redis-url", redis_7.url),
        *("--metrics-host", "127.0.0.1", "--metrics-port", "0", "--processes", processes),
        cwd=tmp_path,
    )
    assert done.returncode == 2
    last = [line for line in done.stderr.splitlines() if not line.startswith("{")][-1]
    assert last == (
        "fulfillment-worker: shop:fulfil takes 'db', which is none of its resources (pool)"
    )


TWO = """
async def fulfil(order):
    return {"by": "fulfil"}

def refund(order):
    return {"by": "refund"}
"""


@PROCESSES
def test_handlers_of_two_queues_get_their_own_orders(
    processes: str, redis_7: RedisServer, run_worker: Start
) -> None:
    each = ("--handler", "orders=shop:fulfil,returns=shop:refund", "--processes", processes)
    worker = run_worker(redis_7.url, TWO, *each)
    for queue in ("orders", "returns"):
        place(redis_7, [{"order_id": "A-1"}], queue)
        wait_until_all(redis_7, [{"order_id": "A-1"}], queue=queue)
    assert order_hash(redis_7, "A-1")["note"] == '{"by":"fulfil"}'
    assert order_hash(redis_7, "A-1", "returns")["note"] == '{"by":"refund"}'
    assert worker.terminate() == 0
