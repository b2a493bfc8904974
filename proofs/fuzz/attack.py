"""Push hostile entries at a real worker, and hold what became of them against what was pushed."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import redis

from proofs.fuzz.entries import entries
from tests.support.eventually import PATIENCE, eventually
from tests.support.redis_server import RedisServer
from tests.support.worker import RunningWorker

HANDLER = "async def fulfil(order):\n    pass\n"
_CHUNK = 500


class Findings(NamedTuple):
    """What became of the entries. lost: in no place; changed: dead with other bytes."""

    pushed: int
    fulfilled: int
    duplicates: int
    dead: int
    lost: list[bytes]
    changed: list[bytes]
    restarts: int


def attack(server: RedisServer, folder: Path, *, seed: int, many: int) -> Findings:
    """Run `many` entries through one worker, which must live to the end."""
    with server.client() as client:
        options = ("--concurrency", "200", "--max-order-bytes", "20KiB")
        with RunningWorker(folder, server.url, HANDLER, options) as worker:
            worker.wait_until_ready()
            _push(client, seed, many)
            eventually(lambda: _ended(client) == many, deadline=PATIENCE + many / 100)
            alive = worker.returncode is None
            assert worker.terminate() == 0
        return _audit(client, seed, many, restarts=0 if alive else 1)


def _push(client: redis.Redis, seed: int, many: int) -> None:
    source = entries(seed, many)
    while chunk := list(islice(source, _CHUNK)):
        client.lpush("orders", *chunk)


def _ended(client: Any) -> int:
    books = client.hmget("{orders}:books", "fulfilled", "duplicates")
    return sum(int(count or 0) for count in books) + int(client.hlen("{orders}:dead"))


def _audit(client: Any, seed: int, many: int, restarts: int) -> Findings:
    dead = _dead(client)
    pushed = Counter(entries(seed, many))
    changed = list((dead - pushed).elements())
    alive = (pushed - dead).elements()
    books = client.hmget("{orders}:books", "fulfilled", "duplicates")
    fulfilled, duplicates = (int(count or 0) for count in books)
    lost = [raw for raw in alive if not _is_fulfilled(client, raw)]
    return Findings(many, fulfilled, duplicates, dead.total(), lost, changed, restarts)


def _dead(client: Any) -> Counter[bytes]:
    letters = client.hscan_iter("{orders}:dead", count=1000)
    return Counter(letter.split(b"\n", 1)[1] for _, letter in letters)


def _is_fulfilled(client: Any, raw: bytes) -> bool:
    # Python's own parser is the judge here, so that ours is held against another.
    order_id = json.loads(raw, parse_int=_whole)["order_id"]
    return bool(client.hget("{orders}:order:" + str(order_id), "status") == b"fulfilled")


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= 4300 else float(digits)
