"""The log of a real worker: quiet while all goes well, and never in the way."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.eventually import PATIENCE, eventually
from tests.support.orders import bodies, place, wait_until_all
from tests.support.process import environment, free_port
from tests.support.redis_server import RedisServer
from tests.support.worker import FULFIL_ALL, RunningWorker, Samples, parse_samples

Start = Callable[..., RunningWorker]


class Unread:
    """A worker whose stderr is a pipe that nobody reads."""

    def __init__(self, folder: Path, redis_url: str, *flags: str) -> None:
        (folder / "shop.py").write_text(FULFIL_ALL)
        self._port = free_port()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "fulfillment_worker", "run", "--handler", "shop:fulfil"),
                *("--redis-url", redis_url, "--metrics-port", str(self._port), *flags),
            ],
            cwd=folder,
            env=environment({"PYTHONPATH": str(folder)}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def get(self, path: str) -> str:
        url = f"http://127.0.0.1:{self._port}{path}"
        with urllib.request.urlopen(url, timeout=120) as answer:
            return str(answer.read().decode())

    def scrape(self) -> Samples:
        return parse_samples(self.get("/metrics"))


@contextmanager
def unread(folder: Path, redis_url: str, *flags: str) -> Iterator[Unread]:
    worker = Unread(folder, redis_url, *flags)
    try:
        yield worker
    finally:
        worker.process.kill()
        worker.process.wait()
        if worker.process.stderr is not None:
            worker.process.stderr.close()


DROPPED = "fulfillment_log_lines_dropped_total"


def test_a_reader_that_does_not_read_stops_no_order(redis_7: RedisServer, tmp_path: Path) -> None:
    """Invariant 7. Two lines an order, of which a pipe takes some hundred."""
    orders = bodies(5400)
    with unread(tmp_path, redis_7.url, "--log-level", "debug") as worker:
        place(redis_7, orders)
        wait_until_all(redis_7, orders)
        fulfilled = 'orders_processed_total{status="success"}'
        eventually(lambda: worker.scrape()[fulfilled] == 5400, what="all are counted")
        assert worker.scrape()[DROPPED] > 0
        assert worker.get("/livez") == "ok\n"
        worker.process.terminate()
        assert worker.process.wait(PATIENCE) == 0
        assert worker.process.stderr is not None
        lines = worker.process.stderr.read().splitlines()
    assert len(lines) > 50
    for line in lines[:-1]:  # the last one was cut off by the end
        assert json.loads(line)["event"]


def test_a_reader_that_comes_back_learns_what_it_missed(
    redis_7: RedisServer, tmp_path: Path
) -> None:
    orders = bodies(5400)
    with unread(tmp_path, redis_7.url, "--log-level", "debug") as worker:
        place(redis_7, orders)
        wait_until_all(redis_7, orders)
        assert worker.process.stderr is not None
        told = next(line for line in worker.process.stderr if b"log_lines_dropped" in line)
        count = json.loads(told)["count"]
        assert count == worker.scrape()[DROPPED]
        messages = worker.scrape().get_sample("fulfillment_log_messages_total", level="debug")
        assert 0 < count < messages


def test_a_reader_that_is_gone_stops_no_order(redis_7: RedisServer, tmp_path: Path) -> None:
    with unread(tmp_path, redis_7.url) as worker:
        assert worker.process.stderr is not None
        next(line for line in worker.process.stderr if b"redis_connected" in line)
        worker.process.stderr.close()
        place(redis_7, [{"order_id": "A"}])
        wait_until_all(redis_7, [{"order_id": "A"}])
        with redis_7.client() as client:
            client.lpush("orders", "rubbish")  # a dead letter, which is logged
        eventually(lambda: worker.scrape()[DROPPED] >= 1, what="the line is dropped")
        worker.process.terminate()
        assert worker.process.wait(20) == 0


def test_at_info_nothing_is_said_of_orders_that_go_well(
    redis_7: RedisServer, run_worker: Start
) -> None:
    worker = run_worker(redis_7.url)
    worker.wait_until_ready()
    eventually(lambda: worker.events("redis_connected"), what="it says that it has begun")
    before = len(worker.lines)
    orders = bodies(2000)
    place(redis_7, orders)
    wait_until_all(redis_7, orders)
    assert len(worker.lines) == before
    assert worker.terminate() == 0
    assert [line["event"] for line in worker.log[before:]] == ["worker_draining", "worker_stopped"]


def test_at_debug_every_order_is_told_and_its_payload_is_not(
    redis_7: RedisServer, run_worker: Start
) -> None:
    worker = run_worker(redis_7.url, FULFIL_ALL, "--log-level", "debug")
    orders = [{"order_id": f"A-{n}", "card": "4111-1111"} for n in range(20)]
    place(redis_7, orders)
    wait_until_all(redis_7, orders)
    ids = {order["order_id"] for order in orders}
    assert worker.terminate() == 0
    for event in ("order_started", "order_fulfilled"):
        assert {line["order_id"] for line in worker.events(event)} == ids
    assert "4111" not in worker.output


SETS_UP_LOGGING = """
import logging
import logging.config

logging.config.dictConfig({"version": 1})
logging.disable(logging.INFO)
log = logging.getLogger("shop")


async def fulfil(order):
    logging.config.dictConfig({"version": 1, "loggers": {"shop": {}}})
    log.warning("packed", extra={"fields": ["a"], "parcel": order.id, "password": "hunter2"})
    if order.id == "B":
        raise ValueError("no")
"""


@pytest.mark.parametrize("processes", ["1", "2"])
def test_logging_that_the_shop_sets_up_silences_nobody_and_fails_no_order(
    processes: str, redis_7: RedisServer, run_worker: Start
) -> None:
    worker = run_worker(redis_7.url, SETS_UP_LOGGING, "--processes", processes)
    place(redis_7, [{"order_id": "A"}, {"order_id": "B"}])
    wait_until_all(redis_7, [{"order_id": "A"}])
    eventually(lambda: worker.events("order_retried"), what="the worker's own event")
    packed = next(line for line in worker.events("packed") if line["parcel"] == "A")
    assert (packed["fields"], packed["logger"]) == (["a"], "shop")
    assert packed.get("process") in ({"0", "1"} if processes == "2" else {None})
    assert "hunter2" not in worker.output

    def counted() -> float:
        return worker.scrape().get_sample("fulfillment_log_messages_total", level="warning")

    eventually(lambda: counted() >= 2, what="both are counted")
    assert worker.terminate() == 0
