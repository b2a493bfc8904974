"""The scaler's triggers see each place in which an order may be while no worker runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import redis

from proofs.kubernetes.scaler import Scaler
from tests.support.kubernetes import render
from tests.support.prometheus import PrometheusApi
from tests.support.redis_server import RedisServer

ROOT = Path(__file__).parents[2]


class Asked:
    """A Prometheus that gives one answer."""

    def __init__(self, answer: float | None) -> None:
        self.answer = answer

    def value(self, expression: str) -> float | None:
        assert "fulfillment_outstanding_orders" in expression
        return self.answer


@pytest.fixture
def asked() -> Asked:
    """With no worker, the query's answer is 0."""
    return Asked(0.0)


@pytest.fixture
def scaler(redis_7: RedisServer, asked: Asked) -> Iterator[Scaler]:
    with redis_7.client() as client:
        yield new_scaler(client, asked)


def new_scaler(client: redis.Redis, asked: Asked) -> Scaler:
    return Scaler(
        render()["ScaledObject"],
        cast(PrometheusApi, asked),
        client,
        most=8,
        cooldown=60,
        clock=lambda: 0.0,
    )


def test_scaler_leaves_an_empty_queue_at_no_worker(scaler: Scaler) -> None:
    assert scaler.wanted(0) == 0


@pytest.mark.parametrize(
    ("key", "name"),
    [("orders", "waiting"), ("{orders}:woken", "woken"), ("{orders}:suspects", "suspects")],
)
def test_scaler_wakes_one_worker_for_an_order_in_any_list(
    scaler: Scaler, redis_7: RedisServer, key: str, name: str
) -> None:
    with redis_7.client() as client:
        client.lpush(key, "an order")
    assert scaler.wanted(0) == 1
    assert scaler.woken_by == [name]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("{orders}:retry", "retrying"),
        ("{orders}:scheduled", "scheduled"),
        ("{orders}:parked_keys", "parked"),
        ("{orders}:leases", "held"),
    ],
)
def test_scaler_wakes_one_worker_for_a_retry_and_for_orders_that_a_killed_worker_held(
    scaler: Scaler, redis_7: RedisServer, key: str, name: str
) -> None:
    with redis_7.client() as client:
        client.zadd(key, {f"entry-{number}": 2e12 for number in range(5000)})
    assert scaler.wanted(0) == 1
    assert scaler.woken_by == [name]
    assert scaler.wanted(3) == 1, "it wakes, and asks for no more than one"


@pytest.mark.parametrize(("outstanding", "workers"), [(1, 1), (100, 1), (101, 2), (5000, 8)])
def test_scaler_wants_a_worker_for_each_hundred_outstanding_orders(
    scaler: Scaler, asked: Asked, outstanding: float, workers: int
) -> None:
    asked.answer = outstanding
    assert scaler.wanted(4) == workers


def test_scaler_asks_redis_by_three_rights_more_than_the_worker_has(
    redis_7: RedisServer, asked: Asked
) -> None:
    page = (ROOT / "docs" / "redis.md").read_text()
    (rights,) = re.findall(r"ACL SETUSER worker on '>PASSWORD' (.+)", page)
    rules = [each.strip("'") for each in rights.split()]
    with redis_7.client() as admin:
        admin.execute_command(
            "ACL", "SETUSER", "keda", "on", ">secret", *rules, "+eval", "+ping", "+type"
        )
        admin.zadd("{orders}:retry", {"entry": 2e12})
        with redis_7.client(username="keda", password="secret") as client:
            assert client.ping()
            assert new_scaler(client, asked).wanted(0) == 1
        admin.execute_command("ACL", "SETUSER", "keda", "-type")
        with (
            redis_7.client(username="keda", password="secret") as client,
            pytest.raises(redis.ResponseError),
        ):
            new_scaler(client, asked).wanted(0)
        admin.execute_command("ACL", "DELUSER", "keda")


def test_scaler_takes_no_worker_away_while_prometheus_reaches_none(
    scaler: Scaler, asked: Asked, redis_7: RedisServer
) -> None:
    asked.answer = None
    assert scaler.wanted(4) == 4
    with redis_7.client() as client:
        client.lpush("orders", *range(650))
    assert scaler.wanted(4) == 7, "the list alone can still ask for more"
