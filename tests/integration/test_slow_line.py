"""A line that carries little: what fits arrives, and what doesn't is given up to others."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.orders import (
    bodies,
    books,
    dead_letters,
    in_flight,
    place,
    wait_until_all,
)
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.worker import FULFIL_ALL, RunningWorker

Start = Callable[..., RunningWorker]
NewRedis = Callable[..., RedisServer]


def large(many: int, size: int = 300_000) -> list[dict[str, str]]:
    return [{**body, "pad": "x" * size} for body in bodies(many, "large")]


@pytest.fixture
def server(new_redis: NewRedis) -> RedisServer:
    return new_redis("redis-7")


@pytest.fixture
def line(server: RedisServer) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


def through(line: Proxy) -> str:
    return f"redis://127.0.0.1:{line.port}/0"


def test_slow_line_carries_large_orders_one_after_the_other(
    server: RedisServer, line: Proxy, run_worker: Start
) -> None:
    """Two of them take longer than the patience for silence."""
    line.rate = 200_000
    orders = large(6)
    place(server, orders)
    worker = run_worker(through(line), FULFIL_ALL)
    wait_until_all(server, orders)
    assert not worker.events("redis_lost")
    assert books(server).dead == 0


def test_slow_line_never_carries_what_is_too_large(
    server: RedisServer, line: Proxy, run_worker: Start
) -> None:
    rubbish = b"x" * 8_000_000
    line.rate = 200_000
    server.client().lpush("orders", rubbish)
    small = bodies(10)
    place(server, small)
    run_worker(through(line), FULFIL_ALL)
    wait_until_all(server, small)
    (letter,) = dead_letters(server)
    assert letter.header["reason"] == "invalid"
    assert letter.raw == rubbish


def test_small_output_buffer_limit_lets_large_orders_through_one_by_one(
    server: RedisServer, run_worker: Start
) -> None:
    """Redis drops the connection where the reply to a claim is above the limit."""
    server.client().config_set("client-output-buffer-limit", "normal 400kb 0 0")
    orders = large(6)
    place(server, orders)
    run_worker(server.url, FULFIL_ALL)
    wait_until_all(server, orders)
    assert books(server).dead == 0


def test_lease_outlasts_a_reply_that_takes_longer(
    server: RedisServer, line: Proxy, run_worker: Start
) -> None:
    """Another worker stands ready to take what has no lease any more."""
    line.rate = 100_000
    orders = large(3, size=400_000)
    place(server, orders)
    slow = run_worker(through(line), FULFIL_ALL, "--lease", "3s")
    eventually(lambda: in_flight(server), what="orders are on their way")
    other = run_worker(server.url, FULFIL_ALL, "--lease", "3s")
    wait_until_all(server, orders)
    assert not other.events("orders_recovered")
    assert not slow.events("lease_lost")


class Narrow(Proxy):
    """Breaks the connection at each reply of more than 100 kB."""

    def _pass_on(self, pair: Any, sink: socket.socket, data: bytes, forth: bool) -> bool:
        self._carried = 0 if forth else self._carried + len(data)
        if self._carried > 100_000:
            pair.close()
            return False
        return super()._pass_on(pair, sink, data, forth)

    _carried = 0


def test_order_that_a_line_cannot_carry_is_given_up_to_another_worker(
    server: RedisServer, run_worker: Start
) -> None:
    narrow = Narrow(server.port)
    big, small = large(2), bodies(10)
    place(server, [*big, *small])
    slow = run_worker(through(narrow), FULFIL_ALL, "--lease", "3s")
    wait_until_all(server, small)
    assert slow.events("orders_requeued") or slow.events("redis_lost")
    assert not slow.events("lease_lost")
    run_worker(server.url, FULFIL_ALL, "--lease", "3s")
    wait_until_all(server, big)
    assert books(server).dead == 0
    narrow.close()
