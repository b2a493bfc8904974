"""An operator's commands on real queues: what they do to orders, and to the books."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fulfillment_worker.admin.inspector import Inspector
from fulfillment_worker.admin.operator import Operator
from fulfillment_worker.admin.redis_client import open_client
from fulfillment_worker.cli.main import main
from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.exchange import Begin, Exchange, QueueUnavailable
from fulfillment_worker.core.outcome import Dead, DeadReason, Fulfilled
from fulfillment_worker.queue.redis_queue import QueuePolicy, RedisQueue
from fulfillment_worker.worker.names import worker_name
from tests.support.orders import (
    bodies,
    books,
    dead_letters,
    order_hash,
    place,
    place_by_hand,
    statuses,
    stream,
    wait_until_all,
)
from tests.support.redis_server import RedisServer
from tests.support.worker import RunningWorker

_POLICY = QueuePolicy(lease=60_000, status_ttl=60_000, max_orphanings=3, id_field="order_id")
REJECT_UNMENDED = """
from fulfillment_worker import Reject

async def fulfil(order):
    if not order.body.get("mended"):
        raise Reject(f"order {order.id} is odd")
"""


class Undertaker:
    """Buries and fulfils orders as a worker would."""

    def __init__(self, server: RedisServer) -> None:
        self.queue = RedisQueue("orders", RedisUrl.parse(server.url), _POLICY, lambda _: None)
        self.name = worker_name()
        self.number = self.delivery = 1
        self.held = 0

    async def exchange(self, **fields: Any) -> Any:
        exchange = Exchange(
            worker=self.name,
            number=self.number,
            holding=self.held,
            first_delivery=self.delivery,
            **fields,
        )
        reply = await self.queue.exchange(exchange)
        assert not reply.stale
        self.number += 1
        self.delivery += len(reply.claimed)
        self.held += len(reply.claimed) - len(fields.get("outcomes", ()))
        return reply

    async def begin(self, many: int) -> list[tuple[int, str]]:
        claimed = (await self.exchange(claim=many)).claimed
        ids = [json.loads(each.raw)["order_id"] for each in claimed]
        await self.exchange(
            begins=[Begin(c.delivery, i, 1, 1) for c, i in zip(claimed, ids, strict=True)]
        )
        return [(each.delivery, order_id) for each, order_id in zip(claimed, ids, strict=True)]

    async def bury(self, many: int) -> None:
        while many:
            some = await self.begin(min(many, 500))
            await self.exchange(
                outcomes=[Dead(d, i, 1, "odd", DeadReason.REJECTED) for d, i in some]
            )
            many -= len(some)


def bury(server: RedisServer, orders: list[dict[str, Any]]) -> None:
    async def bury_all() -> None:
        undertaker = Undertaker(server)
        await undertaker.bury(len(orders))
        await undertaker.queue.close()

    place(server, orders)
    asyncio.run(bury_all())


def fulfil(server: RedisServer, order: dict[str, Any]) -> int:
    """The verdict and the end of one order, which lies on the list or among the retries."""

    async def fulfil_one() -> int:
        undertaker = Undertaker(server)
        (claimed,) = (await undertaker.exchange(claim=1)).claimed
        asked = Begin(claimed.delivery, order["order_id"], claimed.failures + 1, 1)
        (verdict,) = (await undertaker.exchange(begins=[asked])).verdicts
        if verdict.name == "GO":
            done = Fulfilled(claimed.delivery, order["order_id"], claimed.failures + 1)
            await undertaker.exchange(outcomes=[done])
        await undertaker.queue.close()
        assert claimed.orphanings == 0
        return int(claimed.failures)

    return asyncio.run(fulfil_one())


@pytest.fixture
def cli(redis_server: RedisServer) -> Callable[..., Result]:
    def run(*args: str) -> Result:
        return CliRunner().invoke(main, [*args, "--redis-url", redis_server.url])

    return run


def test_a_retried_letter_is_an_order_again(
    cli: Callable[..., Result], redis_server: RedisServer
) -> None:
    """Invariants 1 and 5."""
    (order,) = orders = bodies(1)
    bury(redis_server, orders)
    was = order_hash(redis_server, "A-0")
    assert cli("dead", "retry", "A-0").stdout == "retried 1 dead letter\n"
    counted, told = books(redis_server), order_hash(redis_server, "A-0")
    assert (counted.dead, counted.retrying, counted.unaccounted) == (0, 1, 0)
    assert (was["status"], told["status"]) == ("dead", "retrying")
    assert "next_attempt_at" in told
    assert "finished_at" not in told
    with redis_server.client() as client:
        assert client.ttl("{orders}:order:A-0") == -1
    assert stream(redis_server)[-1]["status"] == "retrying"
    assert fulfil(redis_server, order) == 0, "its failures are forgiven"
    assert statuses(redis_server, ["A-0"]) == ["fulfilled"]
    assert books(redis_server).unaccounted == 0


def test_an_order_that_was_fulfilled_since_stays_fulfilled(
    cli: Callable[..., Result], redis_server: RedisServer
) -> None:
    """Invariant 3."""
    (order,) = orders = bodies(1)
    bury(redis_server, orders)
    place(redis_server, orders)
    fulfil(redis_server, order)
    assert cli("dead", "retry", "--all").exit_code == 0
    assert statuses(redis_server, ["A-0"]) == ["fulfilled"]
    fulfil(redis_server, order)
    counted = books(redis_server)
    assert (counted.fulfilled, counted.duplicates, counted.unaccounted) == (1, 1, 0)


def test_letters_with_the_same_bytes_stay_two(
    cli: Callable[..., Result], redis_server: RedisServer
) -> None:
    for _ in range(2):
        bury(redis_server, bodies(1))
    assert cli("dead", "retry", "A-0").stdout == "retried 2 dead letters\n"
    assert books(redis_server).retrying == 2


def test_a_letter_of_an_earlier_version_is_retried(
    cli: Callable[..., Result], redis_server: RedisServer
) -> None:
    """It doesn't tell its copy; the orders with the same bytes stay two all the same."""
    for _ in range(2):
        bury(redis_server, bodies(1))
    with redis_server.client() as client:
        for number, letter in client.hgetall("{orders}:dead").items():
            header, _, raw = letter.partition(b"\n")
            told = json.loads(header)
            del told["copy"]
            client.hset("{orders}:dead", number, json.dumps(told).encode() + b"\n" + raw)
        assert cli("dead", "retry", "--all").exit_code == 0
        entries = client.zrange("{orders}:retry", 0, -1)
    assert sorted(entry.split(b" ")[0] for entry in entries) == [
        b"10000000000001",
        b"10000000000002",
    ]
    assert fulfil(redis_server, {"order_id": "A-0"}) == 0


def test_a_damaged_letter_stays_where_it_is(
    cli: Callable[..., Result], redis_server: RedisServer
) -> None:
    bury(redis_server, bodies(1))
    with redis_server.client() as client:
        client.hset("{orders}:dead", 1, b"rubbish")
    result = cli("dead", "retry", "--all")
    assert (result.exit_code, result.stdout) == (1, "retried 0 dead letters\n")
    assert "damaged" in result.stderr
    assert books(redis_server).dead == 1
    assert "its header is damaged" in cli("dead", "list").stdout


def test_dropped_letters_are_counted(cli: Callable[..., Result], redis_server: RedisServer) -> None:
    """Invariant 5."""
    bury(redis_server, bodies(3))
    assert cli("dead", "drop", "A-0", "A-1").stdout == "dropped 2 dead letters\n"
    (queue,) = json.loads(cli("queue", "--json").stdout)
    assert (queue["dead"], queue["dropped"], queue["received"]) == (1, 2, 3)
    assert cli("dead", "drop", "A-0").exit_code == 1
    (again,) = json.loads(cli("queue", "--json").stdout)
    assert again["dropped"] == 2


@pytest.mark.parametrize(("verb", "past"), [("retry", "retried"), ("drop", "dropped")])
def test_many_and_large_letters_go_in_bounded_batches(
    cli: Callable[..., Result], redis_server: RedisServer, verb: str, past: str
) -> None:
    orders = bodies(1200)
    orders += [{**order, "x": "x" * 600_000} for order in bodies(5, "L")]
    bury(redis_server, orders)
    before = redis_server.commands().get("fcall", 0)
    assert cli("dead", "list").exit_code == 0
    listed = redis_server.commands()["fcall"]
    assert cli("dead", verb, "--all").stdout == f"{past} 1205 dead letters\n"
    # The same list; one preflight; 500, 500, 200 and a large one; the other large ones one by one.
    assert redis_server.commands()["fcall"] - listed == (listed - before) + 1 + 3 + 4
    assert len(dead_letters(redis_server)) == 0


def test_the_list_of_many_is_complete(
    cli: Callable[..., Result], redis_server: RedisServer
) -> None:
    bury(redis_server, bodies(700))
    (group,) = json.loads(cli("dead", "list", "--json").stdout)
    assert (group["count"], group["reason"]) == (700, "rejected")
    letters = json.loads(cli("dead", "list", "--all", "--json").stdout)
    assert len({letter["number"] for letter in letters}) == 700


def test_list_of_large_letters_reads_a_few_at_a_time_and_sends_no_orders(
    cli: Callable[..., Result], redis_server: RedisServer
) -> None:
    bury(redis_server, [{**order, "x": "x" * 100_000} for order in bodies(50)])
    with redis_server.client() as client:
        sent = client.info()["total_net_output_bytes"]
        before = redis_server.commands().get("fcall", 0)
        letters = json.loads(cli("dead", "list", "--all", "--json").stdout)
        assert all(100_000 < letter["size"] < 100_100 for letter in letters)
        assert client.info()["total_net_output_bytes"] - sent < 1_000_000
    # Each call ends at half a megabyte, and with the letters that share a bucket of the hash.
    assert redis_server.commands()["fcall"] - before >= 3


def test_a_letter_is_shown_with_its_history_and_bytes(
    cli: Callable[..., Result], redis_server: RedisServer
) -> None:
    bury(redis_server, bodies(1))
    (letter,) = json.loads(cli("dead", "show", "A-0", "--json").stdout)
    assert json.loads(letter["body"]) == {"order_id": "A-0"}
    assert [failure["error"] for failure in letter["history"]] == ["odd"]
    assert cli("dead", "show", "1", "--raw").stdout_bytes == b'{"order_id": "A-0"}'


def test_an_id_that_is_not_utf_8_is_unknown(
    cli: Callable[..., Result], redis_server: RedisServer
) -> None:
    place(redis_server, bodies(1))
    result = cli("status", "A-0", "\udcff")
    assert result.exit_code == 1
    assert "A-0  waiting" in result.stdout
    assert "\\udcff  unknown" in result.stdout


def test_an_operator_who_lacks_a_right_changes_nothing(redis_7: RedisServer) -> None:
    bury(redis_7, bodies(2))
    with redis_7.client() as client:
        client.acl_setuser("clerk", enabled=True, nopass=True, keys=["*"], commands=["+@all"])
        client.execute_command("ACL", "SETUSER", "clerk", "-xadd")
    url = RedisUrl.parse(redis_7.url.replace("//", "//clerk:x@"))

    async def retry() -> None:
        client = open_client(url)
        try:
            await Operator(client, "orders", url).retry_dead([1, 2], lambda _: None)
        finally:
            await client.aclose()

    with pytest.raises(QueueUnavailable, match="does not permit this user a command"):
        asyncio.run(retry())
    counted = books(redis_7)
    assert (counted.dead, counted.retrying) == (2, 0)
    with redis_7.client() as client:
        client.acl_deluser("clerk")


def test_workers_notice_retried_letters_and_a_resumed_queue(
    redis_7: RedisServer, run_worker: Callable[..., RunningWorker]
) -> None:
    place_by_hand(redis_7, [b"rubbish"])
    run_worker(redis_7.url, REJECT_UNMENDED, "--lease", "1s")
    place(redis_7, bodies(2))
    wait_until_all(redis_7, bodies(2), "dead")
    run = CliRunner().invoke
    url = ("--redis-url", redis_7.url)
    assert run(main, ["pause", *url]).exit_code == 0
    place(redis_7, [{"order_id": "M", "mended": True}])
    assert run(main, ["dead", "retry", "--reason", "rejected", *url]).exit_code == 0
    assert statuses(redis_7, ["A-0", "A-1", "M"]) == ["retrying", "retrying", ""]
    assert run(main, ["resume", *url]).exit_code == 0
    wait_until_all(redis_7, [{"order_id": "M"}])
    wait_until_all(redis_7, bodies(2), "dead")
    assert books(redis_7).unaccounted == 0


@pytest.mark.parametrize("form", ["lines", "array"])
def test_enqueue_cut_short_by_redis_says_in_one_line_how_to_go_on(
    new_redis: Callable[..., RedisServer], tmp_path: Path, form: str
) -> None:
    """A program of its own: what Python says when it ends is part of what a person sees."""
    server = new_redis("redis-7", "--maxmemory", "8mb")
    lines = [json.dumps({"order_id": number, "x": "x" * 1000}) for number in range(20_000)]
    file = tmp_path / "orders.json"
    file.write_text("\n".join(lines) if form == "lines" else f"[{','.join(lines)}]")
    command = [sys.executable, "-m", "fulfillment_worker", "enqueue", str(file)]
    ended = subprocess.run(
        [*command, "--redis-url", server.url], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    certain = re.search(r"is out of memory.*; (\d+) of 20000 orders were certainly enqueued", line)
    assert certain, line
    with server.client() as client:
        assert 0 < int(certain[1]) == client.llen("orders")
    assert line.endswith("enqueue all of them again, since an id is fulfilled only once")


def test_status_and_queue_read_large_orders_a_few_at_a_time(
    cli: Callable[..., Result], redis_server: RedisServer
) -> None:
    orders = [{**order, "x": "x" * 300_000} for order in bodies(8)]
    place(redis_server, orders)
    before = redis_server.commands().get("lrange", 0)
    (found,) = json.loads(cli("status", "A-7", "--json").stdout)
    assert (found["status"], found["position"]) == ("waiting", 8)
    assert redis_server.commands()["lrange"] - before >= 5
    with redis_server.client() as client:
        sent = client.info()["total_net_output_bytes"]
        (queue,) = json.loads(cli("queue", "--json").stdout)
        assert queue["waiting"] == 8
        assert client.info()["total_net_output_bytes"] - sent < 200_000


async def test_overview_balances_at_any_instant(
    redis_server: RedisServer, run_worker: Callable[..., RunningWorker]
) -> None:
    """Invariant 5: what busy workers hold is read at the same instant as all else."""
    place(redis_server, bodies(20_000))
    run_worker(redis_server.url)
    url = RedisUrl.parse(redis_server.url)
    client = open_client(url)
    try:
        inspector = Inspector(client, "orders", url)
        while (found := await inspector.overview()).fulfilled < 20_000:
            assert found.survey.unaccounted == 0
    finally:
        await client.aclose()


def test_letters_are_found_by_number_and_by_order_id_whatever_the_id(
    cli: Callable[..., Result], redis_server: RedisServer
) -> None:
    ids = ["A-1", 'quo"te', "back\\slash", "sl/ash", "é", "17", "A-1"]
    for order_id in ids:
        bury(redis_server, [{"order_id": order_id}])
    for order_id, count in {"A-1": 2, 'quo"te': 1, "back\\slash": 1, "sl/ash": 1, "é": 1}.items():
        told = json.loads(cli("dead", "show", f"order:{order_id}", "--json").stdout)
        assert [each["order_id"] for each in told] == [order_id] * count
    (letter,) = json.loads(cli("dead", "show", "letter:2", "--json").stdout)
    assert letter["order_id"] == 'quo"te'
    assert cli("dead", "drop", "letter:2", "order:sl/ash").exit_code == 0
    assert [each.header["order_id"] for each in dead_letters(redis_server)] == [
        *("A-1", "back\\slash", "é", "17", "A-1")
    ]


def test_a_queue_that_was_never_used_is_named(
    cli: Callable[..., Result], redis_server: RedisServer
) -> None:
    missing = "there is no queue 'oders'"
    for command in (("pause",), ("resume",)):
        done = cli(*command, "--queue", "oders")
        assert done.exit_code == 1
        assert missing in done.stderr
    for look in (["queue"], ["status", "A-1"], ["dead", "list"]):
        assert missing in cli(*look, "--queue", "oders").stderr
    place(redis_server, bodies(1), "oders")
    assert cli("pause", "--queue", "oders").exit_code == 0
    assert cli("pause", "--queue", "returns", "--new").exit_code == 0
    assert cli("pause", "--queue", "returns").exit_code == 0
    assert missing not in cli("queue", "--queue", "oders").stderr
