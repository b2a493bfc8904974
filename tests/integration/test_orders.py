"""Orders on a list, a worker, and what becomes of each of them."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import pytest

from tests.support.calls import NOTE, Calls
from tests.support.eventually import eventually
from tests.support.orders import (
    bodies,
    books,
    dead_letters,
    events_of,
    order_hash,
    place,
    place_by_hand,
    statuses,
    stream,
    wait_until_all,
)
from tests.support.redis_server import RedisServer, wait_for_status
from tests.support.worker import RunningWorker, Samples

Start = Callable[..., RunningWorker]

QUICK = ("--retry-base", "50ms", "--lease", "1s")


def settled(worker: RunningWorker, orders: int) -> Samples:
    """The scrape that says of all of so many orders that they have ended."""

    def scrape() -> Samples:
        page = worker.scrape()
        assert page["orders_received_total"] == orders, page["orders_received_total"]
        ended = page.get_sample("orders_processed_total", status="success")
        ended += page["orders_duplicate_total"]
        ended += sum(
            count for name, count in page.items() if name.startswith("orders_dead_lettered_total")
        )
        assert ended == orders, f"{ended} have ended"
        for gauge in ("queue_depth", "in_flight_depth", "retry_depth"):
            assert page[f"fulfillment_{gauge}"] == 0, gauge
        return page

    return eventually(scrape, what=f"{orders} orders received and ended")


# --- the promise, as a whole --------------------------------------------------------------------

FAILS_FIRST = """
from fulfillment_worker import Reject

async def fulfil(order):
    if order.body.get("rejected"):
        raise Reject("no such SKU")
    if order.body.get("fails") and order.attempt == 1:
        raise ConnectionError("the carrier hung up")
"""


def test_a_thousand_orders_of_any_client(redis_server: RedisServer, run_worker: Start) -> None:
    orders = bodies(1000)
    for order in orders[:100]:
        order["fails"] = True
    orders[500]["rejected"] = True
    raws = [json.dumps(order).encode() for order in orders]
    place_by_hand(redis_server, raws[:600])
    worker = run_worker(redis_server.url, FAILS_FIRST, *QUICK)
    worker.wait_until_ready()
    place_by_hand(redis_server, raws[600:])
    good = [order for order in orders if "rejected" not in order]
    wait_until_all(redis_server, good)
    wait_for_status(redis_server, "A-500", "dead")

    page = settled(worker, 1000)
    success, error = (
        page.get_sample("orders_processed_total", status=status) for status in ("success", "error")
    )
    assert (success, error) == (999, 101)
    durations = "order_processing_duration_seconds"
    assert page.get_sample(f"{durations}_count", status="success") == success
    assert page.get_sample(f"{durations}_count", status="error") == error
    assert page.get_sample(f"{durations}_bucket", status="error", le="+Inf") == error
    assert page["fulfillment_queue_depth"] == 0
    assert page["fulfillment_dead_letter_depth"] == 1
    assert page["orders_unaccounted"] == 0
    assert page["order_retries_total"] == 100
    assert page.get_sample("order_failures_total", reason="handler") == 100
    assert page.get_sample("order_failures_total", reason="rejected") == 1
    assert page.get_sample("orders_dead_lettered_total", reason="rejected") == 1
    assert page["orders_in_progress"] == 0
    assert worker.terminate() == 0

    now = books(redis_server)
    assert (now.received, now.fulfilled, now.dead) == (1000, 999, 1)
    assert now.unaccounted == 0
    check_hashes(redis_server)
    check_events(redis_server, [str(order["order_id"]) for order in orders])


def check_hashes(server: RedisServer) -> None:
    milliseconds = re.compile(r"\d{13}")
    plain, failed, rejected = (order_hash(server, f"A-{number}") for number in (999, 0, 500))
    for each, status, attempt in (
        (plain, "fulfilled", "1"),
        (failed, "fulfilled", "2"),
        (rejected, "dead", "1"),
    ):
        assert (each["status"], each["attempt"]) == (status, attempt)
        times = [each[name] for name in ("queued_at", "started_at", "finished_at")]
        assert all(milliseconds.fullmatch(time) for time in times), times
        assert times == sorted(times)
        assert each["worker"]
        assert "next_attempt_at" not in each
    assert "error" not in plain
    assert "error" not in failed
    assert "no such SKU" in rejected["error"]
    with server.client() as client:
        for order_id in ("A-999", "A-500"):
            assert 6 * 86_400 < client.ttl(f"{{orders}}:order:{order_id}") <= 7 * 86_400


def check_events(server: RedisServer, ids: list[str]) -> None:
    told = events_of(server)
    assert set(told) == set(ids)
    changes = Counter(tuple(each) for each in told.values())
    again = (("processing", 1), ("retrying", 1), ("processing", 2), ("fulfilled", 2))
    assert changes == {
        (("processing", 1), ("fulfilled", 1)): 899,
        again: 100,
        (("processing", 1), ("dead", 1)): 1,
    }
    at = [entry["at"] for entry in stream(server)]
    assert at == sorted(at)
    assert all(re.fullmatch(r"\d{13}", each) for each in at)


def test_arrival_order_is_kept(redis_7: RedisServer, run_worker: Start, calls: Calls) -> None:
    orders = bodies(200)
    place(redis_7, orders)
    handler = NOTE + '\nasync def fulfil(order):\n    note(order, "start")\n'
    run_worker(redis_7.url, handler, "--concurrency", "1", env=calls.env)
    wait_until_all(redis_7, orders)
    assert calls.ids() == [order["order_id"] for order in orders]


def test_what_a_handler_is_given(redis_7: RedisServer, run_worker: Start, calls: Calls) -> None:
    handler = (
        NOTE
        + """
async def fulfil(order):
    seen = [order.id, order.body, order.raw.decode(), order.idempotency_key, order.attempt]
    os.write(_log, json.dumps([*seen, str(order.enqueued_at)]).encode() + b"\\n")
"""
    )
    raw = b'{ "order_id": 7, "note": "\xc3\xa9", "enqueued_at": "2024-05-06T07:08:09Z" }'
    place_by_hand(redis_7, [raw])
    run_worker(redis_7.url, handler, env=calls.env)
    wait_for_status(redis_7, "7", "fulfilled")
    with open(calls.env["CALLS"], "rb") as log:  # noqa: PTH123 - the path is text there
        seen = json.loads(log.read())
    body = {"order_id": 7, "note": "é", "enqueued_at": "2024-05-06T07:08:09Z"}
    assert seen == ["7", body, raw.decode(), "orders:7", 1, "2024-05-06 07:08:09+00:00"]
    assert order_hash(redis_7, "7")["queued_at"] == "1714979289000"


# --- bad input ----------------------------------------------------------------------------------

RUBBISH = {
    "empty": b"",
    "not JSON": b"order 66",
    "cut off": b'{"order_id": "A-1"',
    "two values": b'{"order_id": "A-1"} {"order_id": "A-2"}',
    "not an object": b'["A-1"]',
    "null": b"null",
    "a number": b"17",
    "no id": b'{"id": "A-1"}',
    "id empty": b'{"order_id": ""}',
    "id null": b'{"order_id": null}',
    "id true": b'{"order_id": true}',
    "id fraction": b'{"order_id": 1.5}',
    "id object": b'{"order_id": {}}',
    "id too long": b'{"order_id": "%s"}' % (b"x" * 129),
    "id control": b'{"order_id": "A\\u0000B"}',
    "id line feed": b'{"order_id": "A\\nB"}',
    "raw control": b'{"order_id": "A\x01B"}',
    "not UTF-8": b'{"order_id": "A-\xff\xfe"}',
    "not UTF-8 at all": bytes(range(128, 256)),
    "binary": bytes(range(256)),
    "surrogate": b'{"order_id": "\xed\xa0\x80"}',
    "deep": b'{"order_id": "deep", "a": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "deep objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "unclosed": b"[" * 5000,
    "too large": b'{"order_id": "large", "pad": "' + b"x" * (64 * 1024) + b'"}',
    "one level too deep": b'{"order_id": "deep", "a": ' + b"[" * 200 + b"]" * 200 + b"}",
    "half an emoji as id": b'{"order_id": "A-\\ud83d"}',
    "CR LF": b"\r\n",
    "a header": b"1 0 0 1700000000000\n{}",
    "NUL": b"\x00",
}


def test_rubbish_is_put_aside_with_its_exact_bytes(
    redis_server: RedisServer, run_worker: Start
) -> None:
    good = bodies(20)
    mixed = [*RUBBISH.values(), *(json.dumps(order).encode() for order in good)]
    worker = run_worker(redis_server.url, FAILS_FIRST, *QUICK, "--max-order-bytes", "64KiB")
    worker.wait_until_ready()
    place_by_hand(redis_server, mixed)
    wait_until_all(redis_server, good)
    page = settled(worker, len(mixed))
    letters = dead_letters(redis_server)
    assert Counter(letter.raw for letter in letters) == Counter(RUBBISH.values())
    assert {letter.reason for letter in letters} == {"invalid"}
    assert page.get_sample("order_failures_total", reason="invalid") == len(RUBBISH)
    assert page.get_sample("orders_dead_lettered_total", reason="invalid") == len(RUBBISH)
    assert page.get_sample("orders_processed_total", status="success") == len(good)
    assert page.get_sample("orders_processed_total", status="error") == 0
    assert page["orders_unaccounted"] == 0
    assert page["fulfillment_observer_faults_total"] == 0
    assert worker.terminate() == 0


ODD = {
    "id of 128": ("y" * 128, b'{"order_id": "%s"}' % (b"y" * 128)),
    "a number": ("-12", b'{"order_id": -12}'),
    "a long number": ("9" * 40, b'{"order_id": %s}' % (b"9" * 40)),
    "umlauts": ("Größe 🎁", '{"order_id": "Größe 🎁"}'.encode()),
    "braces": ("{a}:b", b'{"order_id": "{a}:b"}'),
    "bad time": ("t1", b'{"order_id": "t1", "enqueued_at": "tomorrow", "created_at": []}'),
    "a time of old": ("t2", b'{"order_id": "t2", "enqueued_at": "0001-01-01T00:00:00+14:00"}'),
    "a time to come": ("t3", b'{"order_id": "t3", "enqueued_at": 99999999999}'),
    "negative time": ("t4", b'{"order_id": "t4", "enqueued_at": -1}'),
    "bad trace": ("t5", b'{"order_id": "t5", "traceparent": 5, "tracestate": "\\u0000"}'),
    "huge number": ("t6", b'{"order_id": "t6", "enqueued_at": 123456789012345678901234567890}'),
    "no time": ("t8", b'{"order_id": "t8", "enqueued_at": 0}'),
    "half an emoji": ("t9", b'{"order_id": "t9", "note": "party \\ud83d"}'),
    "infinite": ("t10", b'{"order_id": "t10", "total": 1e999}'),
    "many digits": ("t11", b'{"order_id": "t11", "total": ' + b"9" * 5000 + b"}"),
    "deep": ("t12", b'{"order_id": "t12", "a": ' + b"[" * 199 + b"]" * 199 + b"}"),
    "line feeds": ("t7", b'{\n"order_id":\n"t7"\n}\n'),
}


def test_odd_but_good_orders_are_fulfilled(redis_7: RedisServer, run_worker: Start) -> None:
    worker = run_worker(redis_7.url, FAILS_FIRST, *QUICK)
    place_by_hand(redis_7, [raw for _, raw in ODD.values()])
    wait_until_all(redis_7, [{"order_id": order_id} for order_id, _ in ODD.values()])
    page = settled(worker, len(ODD))
    assert dead_letters(redis_7) == []
    assert page["fulfillment_observer_faults_total"] == 0
    assert page["order_queue_wait_seconds_sum"] >= 0


IN_GROUPS = """
import asyncio
from fulfillment_worker import Reject, Retry

async def reserve(order):
    if order.id == "rejected":
        raise Reject("no such SKU")
    if order.id == "later":
        raise Retry("carrier is down", after=3600)
    if order.attempt == 1:
        order.body["sku"]

async def fulfil(order):
    async with asyncio.TaskGroup() as group:
        group.create_task(reserve(order))
        group.create_task(asyncio.sleep(0.05))
"""


def test_exception_group_means_what_is_in_it(redis_7: RedisServer, run_worker: Start) -> None:
    worker = run_worker(redis_7.url, IN_GROUPS, "--retry-base", "0")
    place(redis_7, [{"order_id": order_id} for order_id in ("rejected", "later", "broken")])
    wait_for_status(redis_7, "rejected", "dead")
    rejected = order_hash(redis_7, "rejected")
    assert (rejected["error"], rejected["attempt"]) == ("no such SKU", "1")
    wait_for_status(redis_7, "later", "retrying")
    later = order_hash(redis_7, "later")
    assert int(later["next_attempt_at"]) - int(later["started_at"]) >= 3_600_000
    wait_for_status(redis_7, "broken", "fulfilled")
    retried = worker.events("order_retried")
    (told,) = [each for each in retried if each["order_id"] == "broken"]
    assert re.fullmatch(r"KeyError: 'sku' \(\w+\.py:\d+ in reserve\)", told["error"])
    assert re.search(
        r'File ".*\.py", line \d+, in reserve\n.*KeyError', told["exception"], re.DOTALL
    )
    assert "in reserve" in later["traceback"]
    assert not {"error", "traceback"} & order_hash(redis_7, "broken").keys()
    assert worker.terminate() == 0


HALF_EMOJIS = """
import logging

from fulfillment_worker import Reject

async def fulfil(order):
    note = order.body["note"]
    logging.warning("%s", note, extra={"note": note, note: 1})
    print(note.encode("ascii", "backslashreplace"))
    if order.id == "rejected":
        raise Reject(note)
    if order.attempt == 1:
        raise ValueError(note)
"""


@pytest.mark.parametrize("processes", ["1", "2"])
def test_surrogate_in_an_order_may_be_logged_and_raised(
    redis_7: RedisServer, run_worker: Start, processes: str
) -> None:
    worker = run_worker(redis_7.url, HALF_EMOJIS, *QUICK, "--processes", processes)
    worker.wait_until_ready()
    texts = [b'{"order_id": "%s", "note": "\\ud83d"}' % name for name in (b"rejected", b"retried")]
    place_by_hand(redis_7, texts)
    wait_for_status(redis_7, "rejected", "dead")
    wait_for_status(redis_7, "retried", "fulfilled")
    assert [letter.raw for letter in dead_letters(redis_7)] == texts[:1]
    assert order_hash(redis_7, "rejected")["error"].startswith("\\ud83d")
    page = settled(worker, 2)
    assert page["fulfillment_observer_faults_total"] == 0
    assert worker.terminate() == 0


# --- the same order twice -----------------------------------------------------------------------


def test_the_same_id_twice_is_handled_once(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    handler = NOTE + '\nasync def fulfil(order):\n    note(order, "start")\n'
    worker = run_worker(redis_7.url, handler, *QUICK, env=calls.env)
    place(redis_7, bodies(3))
    wait_until_all(redis_7, bodies(3))
    place(redis_7, bodies(3))
    page = settled(worker, 6)
    assert sorted(calls.ids()) == ["A-0", "A-1", "A-2"]
    assert page["orders_duplicate_total"] == 3
    assert page.get_sample("orders_processed_total", status="success") == 3
    assert page["orders_unaccounted"] == 0
    assert books(redis_7).duplicates == 3


def test_the_same_id_many_times_at_once_is_handled_once(
    redis_server: RedisServer, run_worker: Start, calls: Calls
) -> None:
    source = (
        NOTE
        + """
async def fulfil(order):
    note(order, "start")
    await asyncio.sleep(0.2)
    note(order, "end")
"""
    )
    workers = [run_worker(redis_server.url, source, *QUICK, env=calls.env) for _ in range(2)]
    for worker in workers:
        worker.wait_until_ready()
    place(redis_server, [{"order_id": 7}, {"order_id": "7"}] * 5)
    eventually(lambda: books(redis_server).duplicates == 9, what="9 duplicates")
    assert calls.ids() == ["7"]
    assert books(redis_server).fulfilled == 1


def test_a_dead_order_that_is_placed_again_is_handled_again(
    redis_7: RedisServer, run_worker: Start
) -> None:
    source = """
from fulfillment_worker import Reject

async def fulfil(order):
    if not order.body.get("mended"):
        raise Reject("broken")
"""
    run_worker(redis_7.url, source, *QUICK)
    place(redis_7, [{"order_id": "A-1"}])
    wait_for_status(redis_7, "A-1", "dead")
    place(redis_7, [{"order_id": "A-1", "mended": True}])
    wait_for_status(redis_7, "A-1", "fulfilled")
    with redis_7.client() as client:
        assert client.ttl("{orders}:order:A-1") > 0
    assert "error" not in order_hash(redis_7, "A-1")


# --- several queues -----------------------------------------------------------------------------


def test_queues_are_served_in_order_of_preference_and_none_starves(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    source = (
        NOTE
        + """
async def fulfil(order):
    note(order, "start")
    await asyncio.sleep(0.02)
"""
    )
    rush, calm = bodies(900, "rush"), bodies(100, "calm")
    place(redis_7, rush, "rush")
    place(redis_7, calm, "calm")
    options = ("--queue", "rush,calm", "--concurrency", "10", *QUICK)
    worker = run_worker(redis_7.url, source, *options, env=calls.env)
    wait_until_all(redis_7, rush, queue="rush")
    wait_until_all(redis_7, calm, queue="calm")
    order = [order_id.split("-")[0] for order_id in calls.ids()]
    until_rush_ended = order[: len(order) - order[::-1].index("rush")]
    # A queue that finds no room looks again after a second; from then on it has its share.
    assert 10 <= until_rush_ended.count("calm") <= 100
    assert order[:300].count("rush") >= 200

    def gauges_say_zero() -> bool:
        page = worker.scrape()
        for queue in ("rush", "calm"):
            for gauge in ("fulfillment_queue_depth", "fulfillment_in_flight_depth"):
                assert page.get_sample(gauge, queue=queue) == 0
            assert page.get_sample("orders_unaccounted", queue=queue) == 0
        return page["orders_received_total"] == 1000

    eventually(gauges_say_zero)


# --- handlers of every kind ---------------------------------------------------------------------


class Shop(ThreadingHTTPServer):
    """An endpoint of the shop's: answers as `answers` says for each order, else 200."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.answers: dict[str, list[tuple[int, dict[str, str]]]] = {}
        self.requests: list[tuple[bytes, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/fulfil"

    @contextmanager
    def running(self) -> Iterator[Shop]:
        thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Shop

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((raw, headers))
        answers = self.server.answers.get(json.loads(raw)["order_id"], [])
        status, extra = answers.pop(0) if answers else (200, {})
        self.send_response(status)
        for name, value in extra.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_a_url_is_a_handler(redis_7: RedisServer, run_worker: Start) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    raw = b'{"order_id":  "exact",\t"traceparent": "%s"}' % trace.encode()
    with Shop().running() as shop:
        shop.answers = {
            "done": [(409, {})],
            "busy": [(503, {"Retry-After": "1"}), (429, {}), (200, {})],
            "gone": [(404, {})],
        }
        options = (*QUICK, "--handler", shop.url)
        worker = run_worker(redis_7.url, "", *options)
        place_by_hand(redis_7, [raw])
        place(redis_7, [{"order_id": name} for name in ("done", "busy", "gone")])
        for order_id in ("exact", "done", "busy"):
            wait_for_status(redis_7, order_id, "fulfilled")
        wait_for_status(redis_7, "gone", "dead")
        page = settled(worker, 4)
    exact = next(headers for body, headers in shop.requests if body == raw)
    assert exact["idempotency-key"] == "orders:exact"
    assert exact["x-order-attempt"] == "1"
    assert exact["traceparent"].startswith(trace[:35])
    attempts = [headers["x-order-attempt"] for body, headers in shop.requests if b"busy" in body]
    assert attempts == ["1", "2", "3"]
    assert page.get_sample("order_failures_total", reason="dependency") == 2
    assert page.get_sample("order_failures_total", reason="rejected") == 1
    assert page.get_sample("orders_processed_total", status="success") == 3
    [letter] = dead_letters(redis_7)
    assert "404" in letter.header["error"]


def test_breaker_opens_where_the_address_is_refused_for_a_while(
    redis_7: RedisServer, run_worker: Start
) -> None:
    orders = [{"order_id": f"A-{number}"} for number in range(300)]
    with Shop().running() as shop:
        shop.answers = {order["order_id"]: [(401, {})] for order in orders}
        worker = run_worker(redis_7.url, "", "--concurrency", "5", "--handler", shop.url)
        worker.wait_until_ready()
        place(redis_7, orders)
        eventually(lambda: worker.events("breaker_opened"), what="the breaker opens")
        assert worker.get("/readyz") == (200, READY_BUT_REJECTING)
        page = worker.scrape()
        assert page.get_sample("fulfillment_breaker_openings_total", cause="rejections") >= 1
        shop.answers = {}
        eventually(lambda: worker.events("breaker_closed"), what="the breaker closes")
        settled(worker, 300)
    letters = dead_letters(redis_7)
    assert 20 <= len(letters) < 100
    assert all("fulfillment-worker dead retry GROUP" in each.header["error"] for each in letters)
    assert worker.events("breaker_opened")[0]["cause"] == "rejections"


READY_BUT_REJECTING = "ok; the breaker is open, since all orders of late were rejected\n"


def test_a_plain_function_runs_in_threads(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    source = (
        NOTE
        + """
import threading
together = threading.Barrier(5, timeout=120)

def fulfil(order):
    assert threading.current_thread() is not threading.main_thread()
    note(order, "start")
    together.wait()
"""
    )
    place(redis_7, bodies(10))
    run_worker(redis_7.url, source, "--concurrency", "5", env=calls.env)
    wait_until_all(redis_7, bodies(10))
    assert calls.count() == 10


MISBEHAVING = """
import asyncio, sys

class Ugly(BaseException):
    pass

async def fulfil(order):
    match order.id.partition("-")[0]:
        case "raise": raise ValueError("first line\\nsecond \\udcff line")
        case "hang": await asyncio.Event().wait()
        case "exit": sys.exit(3)
        case "interrupt": raise KeyboardInterrupt
        case "ugly": raise Ugly("worse than an exception")
        case "cancel": raise asyncio.CancelledError
        case "cancelself":
            asyncio.current_task().cancel()
            await asyncio.sleep(1)
        case "stop": raise StopAsyncIteration
        case "generator": return (each for each in ())
        case "group": raise BaseExceptionGroup("all", [Ugly(), ValueError()])
        case "rubbish": return {"status": 500, "error": object()}
"""
THREADED = """
import sys, time

class Ugly(BaseException):
    pass

def fulfil(order):
    match order.id.partition("-")[0]:
        case "raise": raise ValueError("no")
        case "hang": time.sleep(3)
        case "exit": sys.exit(3)
        case "interrupt": raise KeyboardInterrupt
        case "ugly": raise Ugly
        case "iteration": raise StopIteration
        case "generator": return (each for each in ())
        case "rubbish": return [object()]
"""
BAD = {
    "async": (
        MISBEHAVING,
        (
            *("raise", "hang", "exit", "interrupt", "ugly", "cancel", "cancelself"),
            *("stop", "generator", "group"),
        ),
        ("hang",),
    ),
    "plain": (
        THREADED,
        ("raise", "hang", "exit", "interrupt", "ugly", "iteration", "generator"),
        ("hang",),
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_misbehaving_handlers_end_as_dead_letters_and_others_go_on(
    redis_7: RedisServer, run_worker: Start, kind: str
) -> None:
    source, ways, hanging = BAD[kind]
    options = (*QUICK, "--order-timeout", "300ms", "--max-attempts", "2")
    worker = run_worker(redis_7.url, source, *options)
    good = bodies(50)
    place(redis_7, [{"order_id": way} for way in ways])
    place(redis_7, [*good, {"order_id": "rubbish"}])
    wait_until_all(redis_7, [*good, {"order_id": "rubbish"}])
    bad = [{"order_id": way} for way in ways]
    wait_until_all(redis_7, bad, "dead")
    page = settled(worker, len(ways) + len(good) + 1)
    assert {letter.reason for letter in dead_letters(redis_7)} == {"attempts_exhausted"}
    assert {letter.header["failures"] for letter in dead_letters(redis_7)} == {2}
    timeouts = 2 * len(hanging)
    assert page.get_sample("order_failures_total", reason="timeout") == timeouts
    assert page.get_sample("order_failures_total", reason="handler") == 2 * len(ways) - timeouts
    assert page.get_sample("orders_dead_lettered_total", reason="attempts_exhausted") == len(ways)
    assert page["orders_unaccounted"] == 0
    assert worker.returncode is None
    assert worker.terminate() == 0


def test_retries_back_off_and_a_retry_may_name_its_time(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    source = (
        NOTE
        + """
async def fulfil(order):
    note(order, "start")
    if order.attempt < 3:
        raise Retry("the carrier is down", after=0.4)
"""
    )
    place(redis_7, bodies(5))
    run_worker(redis_7.url, source, "--retry-base", "1ms", env=calls.env)
    wait_until_all(redis_7, bodies(5))
    for order in bodies(5):
        at = [call.at for call in calls.all() if call.order_id == order["order_id"]]
        pauses = [later - earlier for earlier, later in pairwise(at)]
        assert len(pauses) == 2
        assert all(0.4 <= pause < 1.5 for pause in pauses), pauses


def test_an_order_that_waits_for_its_retry_says_so(redis_7: RedisServer, run_worker: Start) -> None:
    source = """
from fulfillment_worker import Retry

async def fulfil(order):
    raise Retry("the carrier is down", after=60)
"""
    place(redis_7, bodies(1))
    worker = run_worker(redis_7.url, source)
    wait_for_status(redis_7, "A-0", "retrying")
    told = order_hash(redis_7, "A-0")
    assert "the carrier is down" in told["error"]
    assert 59_000 <= int(told["next_attempt_at"]) - int(told["started_at"]) <= 62_000
    assert statuses(redis_7, ["A-0"]) == ["retrying"]
    assert books(redis_7).retrying == 1
    assert worker.terminate() == 0
    assert books(redis_7).unaccounted == 0
