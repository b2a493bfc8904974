"""What operators did is written down with the deed: who, what, to how many, when, why."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fulfillment_worker.cli.main import main
from fulfillment_worker.queue import keys
from tests.integration.test_operator import bury
from tests.support.orders import bodies, place
from tests.support.redis_server import RedisServer

Cli = Callable[..., Result]


@pytest.fixture
def cli(redis_server: RedisServer) -> Cli:
    def run(*args: str) -> Result:
        return CliRunner().invoke(main, [*args, "--redis-url", redis_server.url])

    return run


def acts(cli: Cli, *args: str) -> list[dict[str, Any]]:
    done = cli("audit", "--json", *args)
    assert done.exit_code == 0, done.output
    told: list[dict[str, Any]] = json.loads(done.stdout)
    return told


def test_audit_names_the_order_of_one_letter_and_counts_several(
    cli: Cli, redis_server: RedisServer
) -> None:
    bury(redis_server, bodies(4))
    cli("dead", "retry", "A-0", "--by", "ops@desk-3", "--why", "address corrected")
    cli("dead", "drop", "--all", "--by", "ops@desk-3")
    retried, dropped = acts(cli)
    at = retried.pop("at")
    assert retried == {
        "queue": "orders",
        "by": "ops@desk-3",
        "act": "retry",
        "order_id": "A-0",
        "why": "address corrected",
    }
    assert dropped.pop("at") >= at
    assert dropped == {"queue": "orders", "by": "ops@desk-3", "act": "drop", "count": 3}


def test_audit_tells_of_a_pause_once(cli: Cli, redis_server: RedisServer) -> None:
    place(redis_server, bodies(1))
    for command in ("pause", "pause", "resume", "resume"):
        assert cli(command, "--why", "the carrier is down").exit_code == 0
    assert [(act["act"], act["why"]) for act in acts(cli)] == [
        ("pause", "the carrier is down"),
        ("resume", "the carrier is down"),
    ]


def test_status_tells_who_paused_the_queue_and_why(cli: Cli, redis_server: RedisServer) -> None:
    place(redis_server, bodies(3))
    cli("pause", "--by", "ops@desk-3", "--why", "the carrier is down")
    (told,) = json.loads(cli("status", "A-2", "--json").stdout)
    assert re.fullmatch(
        r"2 orders are before it, and the queue is paused for .+ by ops@desk-3 "
        r"\(the carrier is down\)",
        told["why"],
    )
    assert "the carrier is down" in cli("status", "A-2").stdout
    cli("resume")
    (told,) = json.loads(cli("status", "A-2", "--json").stdout)
    assert told["why"] == "2 orders are before it, and no worker is alive"


def test_audit_tells_who_by_default(cli: Cli, redis_server: RedisServer) -> None:
    place(redis_server, bodies(1))
    cli("pause")
    (act,) = acts(cli)
    assert re.fullmatch(r"[^@]+@.+", act["by"])


def test_audit_tells_of_nothing_that_was_not_done(cli: Cli, redis_server: RedisServer) -> None:
    bury(redis_server, bodies(2))
    cli("dead", "drop", "--all", "--dry-run")
    cli("dead", "drop", "letter:99")
    assert acts(cli) == []
    assert "no acts of operators" in cli("audit").stdout


def test_audit_of_several_queues_is_in_order_of_time(cli: Cli, redis_server: RedisServer) -> None:
    for queue in ("orders", "returns", "orders"):
        place(redis_server, bodies(1), queue)
        cli("pause", "--queue", queue)
        cli("resume", "--queue", queue)
    told = acts(cli, "--queue", "orders,returns", "--last", "4")
    assert [act["queue"] for act in told] == ["returns", "returns", "orders", "orders"]
    lines = cli("audit", "--queue", "orders,returns").stdout.splitlines()
    assert len(lines) == 6
    assert lines[0].endswith("pause in orders")


def test_audit_shows_nothing_that_steers_a_terminal(cli: Cli, redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        fields = {"at": 1, "by": "\x1b[2Jme", "act": "retry", "count": 1, "why": b"\xff\x1b"}
        client.xadd(keys.audit("orders"), fields)
        client.lpush("orders", "x")
    assert "\x1b" not in cli("audit").stdout


@pytest.mark.parametrize(
    ("flag", "value"), [("--by", "a\nb"), ("--why", ""), ("--why", "x" * 1001)]
)
def test_audit_refuses_texts_that_are_no_line(
    cli: Cli, redis_server: RedisServer, flag: str, value: str
) -> None:
    place(redis_server, bodies(1))
    done = cli("pause", flag, value)
    assert done.exit_code == 2
    assert flag in done.stderr
    assert acts(cli) == []
