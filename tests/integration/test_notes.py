"""What handlers return is kept with their orders, and shown to whoever asks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from click.testing import CliRunner

from fulfillment_worker.cli.main import main
from tests.support.eventually import eventually
from tests.support.orders import bodies, books, order_hash, place, stream, wait_until_all
from tests.support.otlp import collecting
from tests.support.redis_server import RedisServer, wait_for_status
from tests.support.worker import RunningWorker

Start = Callable[..., RunningWorker]

RETURNS = """
import asyncio

RETURNED = {
    "large": {"a": "x" * 1024},
    "larger": {"a": "x" * 2048},
    "odd": {"a": object()},
    "text": "0034",
    "none": None,
}

async def fulfil(order):
    await asyncio.sleep(0)
    return RETURNED.get(order.id, {"tracking": order.id, "by": "\\x1b[1mDHL"})
"""
PLAIN = "def fulfil(order):\n    return {'tracking': order.id}\n"


def cli(server: RedisServer, *arguments: str) -> str:
    done = CliRunner().invoke(main, [*arguments, "--redis-url", server.url])
    assert done.exit_code == 0, done.output
    return str(done.stdout)


def test_note_is_kept_and_told_wherever_people_ask(
    redis_server: RedisServer, run_worker: Start
) -> None:
    worker = run_worker(redis_server.url, RETURNS)
    orders = [{"order_id": name} for name in ("A", "large", "larger", "odd", "text", "none")]
    place(redis_server, orders)
    wait_until_all(redis_server, orders)
    note = {"tracking": "A", "by": "\x1b[1mDHL"}
    assert json.loads(order_hash(redis_server, "A")["note"]) == note
    with redis_server.client() as client:
        assert client.ttl("{orders}:order:A") > 0
    (told,) = [each for each in stream(redis_server) if "note" in each]
    assert (told["order_id"], told["status"], json.loads(told["note"])) == ("A", "fulfilled", note)
    for order in orders[1:]:
        assert "note" not in order_hash(redis_server, order["order_id"])
    assert books(redis_server).unaccounted == 0

    said = cli(redis_server, "status", "A")
    assert '  note          {"tracking": "A", "by": "\\u001b[1mDHL"}' in said
    found = json.loads(cli(redis_server, "status", "A", "none", "--json"))
    assert [each["note"] for each in found] == [note, None]
    events = [json.loads(line) for line in cli(redis_server, "events").splitlines()]
    assert [each["note"] for each in events if "note" in each] == [note]

    (line,) = eventually(lambda: worker.events("order_note_lost"), what="the fault is told")
    assert (line["level"], line["queue"]) == ("warning", "orders")
    assert line["order_id"] in ("large", "larger", "odd")
    worker.wait_until_fulfilled(len(orders))
    assert len(worker.events("order_note_lost")) == 1, "it is told once"


def test_note_of_a_plain_function_in_several_processes_with_traces(
    redis_7: RedisServer, run_worker: Start
) -> None:
    with collecting() as collector:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        run_worker(redis_7.url, PLAIN, "--processes", "2", env=env)
        orders = bodies(300)
        place(redis_7, orders)
        wait_until_all(redis_7, orders)
        eventually(lambda: collector.of("A-7"), what="its span")
        assert collector.of("A-7")[0].status == "UNSET"
    notes = {each["order_id"]: each["note"] for each in stream(redis_7) if "note" in each}
    assert notes == {order["order_id"]: f'{{"tracking":"{order["order_id"]}"}}' for order in orders}
    assert order_hash(redis_7, "A-299")["note"] == notes["A-299"]
    assert books(redis_7).unaccounted == 0


def test_note_goes_when_the_order_is_erased(redis_7: RedisServer, run_worker: Start) -> None:
    run_worker(redis_7.url, PLAIN)
    place(redis_7, bodies(1, "secret"))
    wait_for_status(redis_7, "secret-0", "fulfilled")
    cli(redis_7, "erase", "secret-0")
    with redis_7.client() as client:
        left = [name for name in client.keys("*") if b"secret-0" in (client.dump(name) or b"")]
    assert left == []


class Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = order["answer"].encode()
        self.send_response(order["status"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.daemon_threads = True
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://shop:hunter2@127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_note_of_an_endpoint_is_a_small_json_object_in_a_2xx_answer(
    redis_7: RedisServer, run_worker: Start, endpoint: str
) -> None:
    worker = run_worker(redis_7.url, "", "--handler", endpoint)
    answers = {
        "note": (200, '{"tracking": "0034"}'),
        "created": (201, '{ "tracking": "0035" }'),
        "done": (409, '{"tracking": "0036"}'),
        "text": (200, "thanks"),
        "leak": (200, '{"you": "hunter2"}'),
    }
    orders = [
        {"order_id": name, "status": status, "answer": answer}
        for name, (status, answer) in answers.items()
    ]
    place(redis_7, orders)
    wait_until_all(redis_7, orders)
    notes = {name: order_hash(redis_7, name).get("note") for name in answers}
    assert notes == {
        "note": '{"tracking":"0034"}',
        "created": '{"tracking":"0035"}',
        "done": None,
        "text": None,
        "leak": None,
    }
    (line,) = eventually(lambda: worker.events("order_note_lost"), what="the leak is told")
    assert line["order_id"] == "leak"
    assert "hunter2" not in json.dumps(worker.log)
