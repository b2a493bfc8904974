"""Traces, over the wire: a real worker, a real Redis, and a collector that takes OTLP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.orders import bodies, place, wait_until_all
from tests.support.otlp import Collector, collecting
from tests.support.process import free_port, run_cli
from tests.support.redis_server import RedisServer, wait_for_status
from tests.support.worker import FULFIL_ALL, RunningWorker

Start = Callable[..., RunningWorker]

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SHOP = """
import asyncio, logging, time
from opentelemetry import trace
from fulfillment_worker import Reject, Retry

async def fulfil(order):
    logging.getLogger("shop").warning("packing")
    with trace.get_tracer("shop").start_as_current_span("pack"):
        await asyncio.sleep(0)
    how = order.body.get("how")
    if how == "retry" and order.attempt == 1:
        raise Retry("the carrier is down")
    if how == "reject":
        raise Reject("no such SKU")
    if how == "break":
        raise ValueError("at redis://shop:hunter2@db/0")
    if how == "hang":
        await asyncio.sleep(600)
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def _variables(url: str, **more: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "100", **more}


def test_every_attempt_is_a_span_that_tells_how_it_ended(
    redis_7: RedisServer, run_worker: Start, collector: Collector
) -> None:
    options = ("--order-timeout", "1s", "--max-attempts", "2", "--retry-cap", "50ms")
    env = _variables(collector.url, OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test")
    worker = run_worker(redis_7.url, SHOP, *options, "--retry-base", "50ms", env=env)
    context = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "shop=1"}
    place(
        redis_7,
        [
            {"order_id": "fine", **context},
            {"order_id": "root", "traceparent": "malformed"},
            {"order_id": "unsampled", "traceparent": f"00-{TRACE}-{SPAN}-00"},
            {"order_id": "again", "how": "retry", **context},
            {"order_id": "bad", "how": "reject"},
            {"order_id": "broken", "how": "break"},
            {"order_id": "hangs", "how": "hang"},
        ],
    )
    wait_for_status(redis_7, "hangs", "dead")
    eventually(lambda: len(collector.of("hangs")) == 2, what="the last span")

    (fine,) = collector.of("fine")
    assert (fine.name, fine.kind, fine.status) == ("process orders", "CONSUMER", "UNSET")
    assert (fine.trace_id, fine.parent_id, fine.trace_state) == (TRACE, SPAN, "shop=1")
    assert fine.links == [(TRACE, SPAN)]
    assert fine.attributes == {
        "messaging.system": "redis",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": "orders",
        "messaging.message.id": "fine",
        "messaging.message.body.size": fine.attributes["messaging.message.body.size"],
        "fulfillment.order.attempt": 1,
        "server.address": "127.0.0.1",
        "server.port": redis_7.port,
    }
    assert fine.resource["service.name"] == "fulfillment-worker"
    assert fine.resource["deployment.environment.name"] == "test"
    assert fine.span_id in {span.parent_id for span in collector.spans if span.name == "pack"}

    assert collector.of("root")[0].parent_id == ""
    assert collector.of("unsampled") == []
    first, second = collector.of("again")
    assert [first.status, second.status] == ["ERROR", "UNSET"]
    assert {first.trace_id, second.trace_id} == {TRACE}
    assert (first.said, first.attributes["error.type"]) == (
        "the carrier is down",
        "fulfillment_worker.Retry",
    )
    assert _reasons(collector, "bad") == ["rejected"]
    assert _reasons(collector, "broken") == ["handler", "handler"]
    assert "in fulfil" in collector.of("broken")[0].events["exception"]["exception.stacktrace"]
    assert _reasons(collector, "hangs") == ["timeout", "timeout"]
    assert all(span.seconds > 0.8 for span in collector.of("hangs"))
    assert "hunter2" not in str(collector.spans)

    _exemplars_and_logs_name_the_trace(worker, collector)
    assert worker.terminate() == 0


def _reasons(collector: Collector, order_id: str) -> list[Any]:
    return [span.attributes["fulfillment.failure.reason"] for span in collector.of(order_id)]


def _exemplars_and_logs_name_the_trace(worker: RunningWorker, collector: Collector) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    page = worker.get("/metrics", headers=accept)[1]
    named = {line.partition('trace_id="')[2][:32] for line in page.splitlines() if "# {" in line}
    assert named
    assert named <= {span.trace_id for span in collector.spans}
    (retried,) = [line for line in worker.events("order_retried") if line["order_id"] == "again"]
    assert retried["trace_id"] == TRACE
    packed = [line for line in worker.events("packing") if line.get("trace_id") == TRACE]
    parents = {span.span_id for span in collector.spans}
    assert len(packed) == 3  # fine, and both attempts at again; not what isn't sampled
    assert {line["span_id"] for line in packed} <= parents
    samples = worker.scrape()
    assert samples.get_sample("fulfillment_observer_faults_total") == 0
    assert samples.get_sample("fulfillment_spans_exported_total", outcome="error") == 0


def test_what_the_shutdown_interrupts_is_sent_before_the_end(
    redis_7: RedisServer, run_worker: Start, collector: Collector
) -> None:
    env = _variables(collector.url, OTEL_BSP_SCHEDULE_DELAY="60000")
    worker = run_worker(redis_7.url, SHOP, "--shutdown-grace", "0.1", env=env)
    place(redis_7, [{"order_id": "fine"}, {"order_id": "hangs", "how": "hang"}])
    wait_for_status(redis_7, "fine", "fulfilled")
    wait_for_status(redis_7, "hangs", "processing")
    assert worker.terminate() == 0
    assert collector.of("fine")[0].status == "UNSET"
    (cut,) = collector.of("hangs")
    assert cut.status == "UNSET"
    assert cut.attributes["fulfillment.interrupted"] is True


@pytest.mark.parametrize("fault", ["refused", "silent", "503"])
def test_a_collector_that_is_away_disturbs_nobody(
    redis_7: RedisServer, run_worker: Start, collector: Collector, fault: str
) -> None:
    """Invariant 7. A queue for 100 spans, so that most find it full."""
    url = f"http://127.0.0.1:{free_port()}" if fault == "refused" else collector.url
    collector.answer = None if fault == "silent" else 503
    small = {"OTEL_BSP_MAX_QUEUE_SIZE": "100", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "50"}
    env = _variables(url, OTEL_EXPORTER_OTLP_TIMEOUT="1", **small)
    worker = run_worker(redis_7.url, FULFIL_ALL, env=env)
    orders = bodies(1500)
    place(redis_7, orders)
    wait_until_all(redis_7, orders)
    eventually(lambda: worker.events("traces_lost"), what="it is told")
    failed = "fulfillment_spans_exported_total"
    eventually(
        lambda: worker.scrape().get_sample(failed, outcome="error") > 0, what="it is counted"
    )
    assert worker.get("/readyz")[0] == 200
    assert worker.terminate() == 0
    assert len(worker.events("traces_lost")) == 1
    assert len(worker.lines) < 12, worker.output


def test_a_collector_that_comes_back_gets_spans_again(
    redis_7: RedisServer, run_worker: Start, collector: Collector
) -> None:
    collector.answer = 400  # for good: not tried again
    worker = run_worker(redis_7.url, FULFIL_ALL, env=_variables(collector.url))
    place(redis_7, [{"order_id": "lost"}])
    eventually(lambda: worker.events("traces_lost"), what="it is told")
    collector.answer = 200
    place(redis_7, [{"order_id": "fine"}])
    eventually(lambda: worker.events("traces_regained"), what="its return is told")
    assert len(collector.of("fine")) == 1


class _Shop(BaseHTTPRequestHandler):
    """An endpoint that keeps the trace context that it is sent."""

    seen: list[tuple[str, str]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append((body["order_id"], self.headers.get("traceparent", "")))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def shop() -> Iterator[ThreadingHTTPServer]:
    _Shop.seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Shop)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_url_handler_is_handed_the_attempts_span(
    redis_7: RedisServer, run_worker: Start, collector: Collector, shop: ThreadingHTTPServer
) -> None:
    url = f"http://127.0.0.1:{shop.server_port}/"
    worker = run_worker(redis_7.url, FULFIL_ALL, "--handler", url, env=_variables(collector.url))
    unsampled = f"00-{TRACE}-{SPAN}-00"
    place(
        redis_7,
        [
            {"order_id": "fine", "traceparent": f"00-{TRACE}-{SPAN}-01"},
            {"order_id": "unsampled", "traceparent": unsampled},
        ],
    )
    eventually(lambda: collector.of("fine"), what="the span")
    wait_for_status(redis_7, "unsampled", "fulfilled")
    (span,) = collector.of("fine")
    assert dict(_Shop.seen) == {
        "fine": f"00-{TRACE}-{span.span_id}-01",
        "unsampled": unsampled,
    }
    assert worker.terminate() == 0


def test_each_process_under_a_supervisor_sends_its_own(
    redis_7: RedisServer, run_worker: Start, collector: Collector
) -> None:
    slow = "import asyncio\n\nasync def fulfil(order):\n    await asyncio.sleep(0.05)\n"
    flags = ("--processes", "2", "--concurrency", "2")
    worker = run_worker(redis_7.url, slow, *flags, env=_variables(collector.url))
    orders = bodies(40)
    place(redis_7, orders)
    wait_until_all(redis_7, orders)
    eventually(lambda: len(collector.spans) == 40, what="a span for each")
    assert len({span.resource["service.instance.id"] for span in collector.spans}) == 2
    exported = "fulfillment_spans_exported_total"
    eventually(
        lambda: worker.scrape().get_sample(exported, outcome="ok") == 40, what="they are counted"
    )
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    assert 'trace_id="' in worker.get("/metrics", headers=accept)[1]
    assert worker.terminate() == 0
    assert len(worker.events("traces_started")) == 2


def test_a_provider_of_the_shops_own_code_is_used(
    redis_7: RedisServer, run_worker: Start, collector: Collector
) -> None:
    own = f"""
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider(resource=Resource({{"service.name": "shop"}}))
exporter = OTLPSpanExporter(endpoint="{collector.url}/v1/traces")
provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=60000))
trace.set_tracer_provider(provider)

async def fulfil(order):
    pass
"""
    worker = run_worker(redis_7.url, own, "--traces", "otlp")
    place(redis_7, [{"order_id": "fine"}])
    wait_for_status(redis_7, "fine", "fulfilled")
    assert worker.terminate() == 0
    (span,) = collector.of("fine")
    assert span.resource["service.name"] == "shop"


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "pip install opentelemetry-exporter-otlp-proto-"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "max_queue_size must be a positive integer"),
    ],
)
def test_traces_that_cannot_be_had(
    redis_7: RedisServer, tmp_path: Path, variable: str, value: str, told: str
) -> None:
    (tmp_path / "shop.py").write_text(FULFIL_ALL)
    ask = {"PYTHONPATH": str(tmp_path), variable: value}
    flags = ("--redis-url", redis_7.url, "--handler", "shop:fulfil", "--metrics-port", "0")
    done = run_cli("run", *flags, "--traces", "otlp", env=ask, cwd=tmp_path)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("fulfillment-worker: --traces is otlp: ")
    assert told in last


def test_where_the_extra_is_missing_orders_run_without_spans(
    redis_7: RedisServer, run_worker: Start
) -> None:
    # A module of that name which is none: as if it were not installed.
    hides = "import sys\nsys.modules['opentelemetry'] = None\n" + FULFIL_ALL
    worker = run_worker(redis_7.url, hides, env=_variables("http://127.0.0.1:1"))
    place(redis_7, [{"order_id": "fine"}])
    wait_for_status(redis_7, "fine", "fulfilled")
    (told,) = worker.events("traces_unavailable")
    assert "pip install 'fulfillment-worker[otel]'" in told["error"]
