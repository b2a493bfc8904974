"""Every query of every panel has an answer: real workers, a real Redis, a real Prometheus."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from fulfillment_worker.monitoring.dashboards import dashboards
from fulfillment_worker.monitoring.target import Target
from fulfillment_worker.monitoring.write import files
from tests.support.eventually import eventually
from tests.support.grafana import Chosen, Json, Line, ask, exemplars, has_data, values_of
from tests.support.orders import books, dead_letters, place
from tests.support.process import run_cli
from tests.support.prometheus import PrometheusServer
from tests.support.redis_server import RedisServer
from tests.support.worker import RunningWorker

# Some succeed, some are retried, some are put aside.
HANDLER = """
import asyncio
from fulfillment_worker import Reject, Retry

async def fulfil(order):
    number = order.body["number"]
    if number % 20 == 7:
        raise Reject("no such SKU")
    if number % 20 == 13 and order.attempt == 1:
        raise Retry("the carrier is down", after=0.2)
    await asyncio.sleep(0.02)
"""
# What the two workers serve, and in how many processes each.
FLEETS = {"one queue": (("orders",), 1), "two queues, two processes": (("rush", "orders"), 2)}


class Load(threading.Thread):
    """Places 20 orders a second on each queue, until it is told to stop.

    They say when they were enqueued, and belong to the trace `trace_id`, which is sampled.
    """

    trace_id = "0af7651916cd43dd8448eb211c80319c"

    def __init__(self, redis: RedisServer, queues: tuple[str, ...]) -> None:
        super().__init__(daemon=True)
        self._redis, self._queues = redis, queues
        self._enough = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._enough.wait(0.05):
            number += 1
            order = {
                "order_id": f"A-{number}",
                "number": number,
                "enqueued_at": time.time(),
                "traceparent": f"00-{self.trace_id}-b7ad6b7169203331-01",
            }
            for queue in self._queues:
                place(self._redis, [order], queue)

    def stop(self) -> None:
        self._enough.set()
        self.join(10)


class Ground(NamedTuple):
    """Two workers under load, scraped since `began` (Unix time)."""

    redis: RedisServer
    workers: list[RunningWorker]
    prometheus: PrometheusServer
    load: Load
    target: Target
    began: float

    @property
    def everything(self) -> Chosen:
        return Chosen(job=self.target.job)

    @property
    def instances(self) -> list[str]:
        return [f"127.0.0.1:{worker.metrics_port}" for worker in self.workers]

    def ask(self, query: Json, chosen: Chosen | None = None) -> list[Line]:
        return ask(self.prometheus, query, chosen or self.everything, since=self.began)

    def wait_for_answer(self, query: Json, chosen: Chosen | None = None) -> list[Line]:
        found: list[Line] = []

        def answered() -> bool:
            found[:] = self.ask(query, chosen)
            return has_data(found)

        filled = (chosen or self.everything).fill_in(query["expr"])
        eventually(answered, what=f"an answer to {filled}")
        return found


@pytest.fixture(scope="module", params=FLEETS.values(), ids=list(FLEETS))
def ground(
    request: pytest.FixtureRequest,
    redis_servers: Callable[[str], RedisServer],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Ground]:
    redis = redis_servers("redis-7")
    redis.flush()
    folder = tmp_path_factory.mktemp("dashboards")
    # Days become minutes, so that the rules of the longest windows are computed within seconds.
    queues, processes = request.param
    target = Target(queues=queues, scale=1 / 60)
    options = ("--queue", ",".join(queues), "--lease", "1s", "--processes", str(processes))
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                RunningWorker(folder / f"worker-{number}", redis.url, HANDLER, options)
            )
            for number in range(2)
        ]
        for worker in workers:
            worker.wait_until_ready()
        prometheus = stack.enter_context(run_prometheus(folder, workers, target))
        prometheus.wait_for_scrape()
        load = Load(redis, queues)
        load.start()
        stack.callback(load.stop)
        yield Ground(redis, workers, prometheus, load, target, began=time.time())


def run_prometheus(folder: Path, workers: list[RunningWorker], target: Target) -> PrometheusServer:
    rule_files = []
    for name, content in files(target).items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        if path.suffix == ".yaml":
            rule_files.append(path)
    assert len(rule_files) == 2
    return PrometheusServer(
        folder / "prometheus",
        [f"127.0.0.1:{worker.metrics_port}" for worker in workers],
        rule_files=rule_files,
        flags=["--enable-feature=exemplar-storage"],
    )


def dashboard(target: Target) -> Json:
    (content,) = dashboards(target).values()
    parsed: Json = json.loads(json.dumps(content))
    return parsed


def graphs(target: Target) -> dict[str, Json]:
    """Title -> panel."""
    panels = dashboard(target)["panels"]
    return {panel["title"]: panel for panel in panels if panel["type"] != "row"}


def variable(target: Target, name: str) -> Json:
    (found,) = [each for each in dashboard(target)["templating"]["list"] if each["name"] == name]
    parsed: Json = found
    return parsed


@pytest.mark.parametrize("title", list(graphs(Target())))
def test_every_query_has_an_answer(ground: Ground, title: str) -> None:
    panel = graphs(ground.target)[title]
    for query in panel["targets"]:
        lines = ground.wait_for_answer(query)
        assert all(line.name for line in lines)
        # Each line can be told from the others.
        assert len({line.name for line in lines}) == len(lines), lines
        if "$instance" in query["expr"]:
            one = Chosen(ground.target.job, instances=ground.instances[:1])
            ground.wait_for_answer(query, one)
            ground.wait_for_answer(query, one._replace(instances=ground.instances))
        if "$queue" in query["expr"] and len(ground.target.queues) > 1:
            rush = ground.everything._replace(queues=["rush"])
            assert [line.labels["queue"] for line in ground.wait_for_answer(query, rush)] == [
                "rush"
            ]
            both = ground.wait_for_answer(query, rush._replace(queues=["rush", "orders"]))
            assert sorted(line.labels["queue"] for line in both) == ["orders", "rush"]


def test_a_misspelt_metric_is_noticed(ground: Ground) -> None:
    query = graphs(ground.target)["Attempts by outcome"]["targets"][0]
    assert has_data(ground.wait_for_answer(query))
    misspelt = {**query, "expr": query["expr"].replace("processed", "procesed")}
    assert not has_data(ground.ask(misspelt))


def test_an_instance_can_be_chosen(ground: Ground) -> None:
    (query,) = graphs(ground.target)["Memory"]["targets"]
    one = Chosen(ground.target.job, instances=ground.instances[:1])
    found = ground.wait_for_answer(query, one)
    assert {line.labels["instance"] for line in found} == {ground.instances[0]}
    # A scrape of the other may have failed on a busy machine.
    eventually(
        lambda: len(ground.wait_for_answer(query)) == 2 * len(found), what="lines of both workers"
    )


def test_dots_lead_to_traces(ground: Ground) -> None:
    marked = [
        query
        for panel in graphs(ground.target).values()
        for query in panel["targets"]
        if query["exemplar"]
    ]
    assert len(marked) == 2
    for query in marked:
        found = eventually(
            lambda query=query: exemplars(  # type: ignore[misc]
                ground.prometheus, query, ground.everything, since=ground.began
            ),
            what=f"exemplars of {query['expr']}",
        )
        assert {trace_id for _, _, trace_id in found} == {Load.trace_id}


def test_what_can_be_chosen(ground: Ground) -> None:
    def values(name: str) -> list[str]:
        chosen = variable(ground.target, name)
        return values_of(ground.prometheus, chosen, ground.everything)

    assert values("job") == [ground.target.job]
    assert values("instance") == sorted(ground.instances)
    several = ground.target.queues if len(ground.target.queues) > 1 else ()
    assert values("queue") == sorted(several)


def test_alerts_are_marked_where_they_fire(ground: Ground) -> None:
    # The handler rejects some orders, and each dead letter is an alert.
    (mark,) = dashboard(ground.target)["annotations"]["list"]
    query = {"expr": mark["expr"], "instant": False, "legendFormat": mark["titleFormat"]}
    # "No worker is up" may have been there before.
    names: set[str] = set()

    def is_marked() -> bool:
        names.update(line.name for line in ground.ask(query))
        return "FulfillmentDeadLettersGrowing" in names

    eventually(is_marked, what="the mark of the alert")
    assert "FulfillmentWatchdog" not in names


# The last one, since it ends the load.
def test_workers_agree_on_the_queue_and_are_not_added_up(ground: Ground) -> None:
    queue = ground.target.queues[-1]
    paused = run_cli("pause", "--redis-url", ground.redis.url, "--queue", queue)
    assert paused.returncode == 0, paused.stderr
    ground.load.stop()
    place(ground.redis, [{"order_id": f"B-{n}", "number": 0} for n in range(7)], queue)
    panels = graphs(ground.target)

    def last(title: str) -> dict[str, float]:
        query = panels[title]["targets"][0]
        lines = ground.ask(query)
        return {line.labels.get("queue", queue): line.points[-1][1] for line in lines}

    def settled() -> bool:
        there = books(ground.redis, queue)
        assert last("Waiting")[queue] == there.waiting >= 7
        assert last("In flight")[queue] == there.in_flight == 0
        assert last("Retrying")[queue] == there.retrying
        assert last("Dead letters")[queue] == there.dead == len(dead_letters(ground.redis, queue))
        return True

    eventually(settled, what="the panels show what Redis holds")
