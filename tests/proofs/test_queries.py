"""Every rule records something, and every query of the docs is answered, by a real Prometheus."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fulfillment_worker.monitoring.rules import rules
from fulfillment_worker.monitoring.target import Target
from fulfillment_worker.monitoring.write import files
from proofs.monitoring.faults import MINUTE
from tests.support.eventually import eventually
from tests.support.orders import place
from tests.support.prometheus import PrometheusServer
from tests.support.redis_server import RedisServer
from tests.support.worker import RunningWorker

DOCS = Path(__file__).parents[2] / "docs"
# One that succeeds, one that is retried and dies, one that is rejected.
HANDLER = """
from fulfillment_worker import Reject

async def fulfil(order):
    if order.body["order_id"].endswith("7"):
        raise RuntimeError("the carrier is down")
    if order.body["order_id"].endswith("9"):
        raise Reject("no such SKU")
"""


def queries(page: str) -> list[str]:
    """Each line of each PromQL block."""
    blocks = re.findall(r"^```promql\n(.*?)^```$", (DOCS / page).read_text(), re.DOTALL | re.M)
    return [line for block in blocks for line in block.splitlines()]


@pytest.fixture(params=["orders", "rush,orders"])
def prometheus(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    redis_7: RedisServer,
    run_worker: Callable[..., RunningWorker],
    run_prometheus: Callable[..., PrometheusServer],
) -> Iterator[PrometheusServer]:
    """It scrapes a worker to which orders come, and has the rules, with short windows."""
    options = ("--queue", request.param, "--retry-base", "10ms", "--max-attempts", "2")
    worker = run_worker(redis_7.url, HANDLER, *options)
    worker.wait_until_ready()
    paths = []
    for name, text in files(Target(scale=MINUTE)).items():
        if name.endswith(".yaml"):
            (tmp_path / name).write_text(text)
            paths.append(tmp_path / name)
    ended = threading.Event()

    def feed() -> None:
        number = 0
        while not ended.wait(0.02):
            number += 1
            place(redis_7, [{"order_id": f"A-{number}", "enqueued_at": time.time()}])

    feeder = threading.Thread(target=feed)
    feeder.start()
    yield run_prometheus([f"127.0.0.1:{worker.metrics_port}"], rule_files=paths)
    ended.set()
    feeder.join()


def test_all_of_them_are_answered(prometheus: PrometheusServer) -> None:
    recorded = [rule["record"] for group in rules(Target())["groups"] for rule in group["rules"]]
    asked = [*recorded, *queries("monitoring.md"), *queries("runbooks.md")]
    assert len(queries("monitoring.md")) >= 10
    unanswered = set(asked)

    def answered() -> bool:
        for query in sorted(unanswered):
            samples = prometheus.query(query)
            if samples and not any(math.isnan(sample.value) for sample in samples):
                unanswered.remove(query)
        assert not unanswered
        return True

    eventually(answered, what="all queries are answered")


def test_there_are_ten_questions() -> None:
    text = (DOCS / "monitoring.md").read_text()
    section = text.partition("## Ten questions")[2].partition("\n## ")[0]
    asked = re.findall(r"^[A-Z][^\n]*\?\n\n```promql", section, re.MULTILINE)
    assert len(asked) == 10
