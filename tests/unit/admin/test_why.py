"""Why an order isn't moving."""

from __future__ import annotations

from typing import Any

import pytest

from fulfillment_worker.admin.rules.why import Standing, why_it_waits
from fulfillment_worker.core.limits import Limits, Rate

NOW = 1_000_000_000


def why(status: str, queue: dict[str, Any] | None = None, **order: Any) -> str:
    usual: dict[str, Any] = {"now": NOW, "workers": 2}
    return why_it_waits(status, Standing(**usual | (queue or {})), **order)


def test_why_waiting_order_tells_how_many_are_before_it() -> None:
    assert why("waiting", position=1) == "it is the next"
    assert why("waiting", position=2) == "1 order is before it"
    assert why("waiting", position=413) == "412 orders are before it"


def test_why_paused_queue_tells_who_paused_it_and_why() -> None:
    paused = {"paused": True, "paused_at": NOW - 120_000, "paused_by": "ops@desk-3"}
    assert why("waiting", paused, position=1) == (
        "it is the next, and the queue is paused for 2 min by ops@desk-3"
    )
    paused["paused_why"] = "the carrier is down"
    assert why("retrying", paused).endswith("by ops@desk-3 (the carrier is down)")
    assert why("waiting", {"paused": True}).endswith("and the queue is paused")


def test_why_queue_without_workers_says_so() -> None:
    assert why("waiting", {"workers": 0}).endswith("and no worker is alive")


def test_why_open_breakers_are_told_when_no_worker_claims() -> None:
    assert "breaker" in why("waiting", {"breakers_open": 2})
    assert "breaker" not in why("waiting", {"breakers_open": 1})


@pytest.mark.parametrize(
    ("ms", "span"), [(400, "0.4 s"), (41_000, "41 s"), (7_200_000, "2 h"), (259_200_000, "3 d")]
)
def test_why_retrying_order_tells_when_it_is_due(ms: int, span: str) -> None:
    assert why("retrying", next_attempt_at=NOW + ms) == f"its next attempt is due in {span}"
    assert why("retrying", next_attempt_at=NOW - 1) == "its next attempt is due"


def test_why_running_order_tells_for_how_long() -> None:
    assert why("processing", started_at=NOW - 3000, attempt=2) == "attempt 2 runs for 3.0 s"


@pytest.mark.parametrize("status", ["fulfilled", "dead"])
def test_why_is_empty_for_an_order_that_has_ended(status: str) -> None:
    assert why(status) == ""


def test_why_order_that_waits_for_its_key_names_who_holds_it() -> None:
    held = [("A-1003", "host-1"), ("", "host-2")]
    told = why("retrying", waits_for="c-17", held_by=held[:1])
    assert told == "it waits for its key c-17, held by A-1003 on host-1"
    assert why("retrying", waits_for="c-17", held_by=held).endswith(", an order on host-2")
    assert why("retrying", waits_for="c-17", held_by=held * 3).endswith(" on host-1 and 3 more")
    limited = {"limits": Limits(per_key="k", key_rate=Rate(2, "s"))}
    told = why("retrying", limited, waits_for="c-17")
    assert told == "it waits for its key c-17, limited to 2/s"


def test_why_order_on_a_limited_queue_names_the_limit() -> None:
    rate = {"limits": Limits(rate=Rate(10, "s"))}
    told = why("waiting", rate, position=413)
    assert told == "412 orders are before it, and the rate is limited to 10/s: about 41 s"
    full = {"limits": Limits(in_flight=20), "in_flight": 20}
    assert why("waiting", full, position=2).endswith("the fleet is at its limit: 20 in flight")
    assert why("waiting", full | {"in_flight": 19}, position=2) == "1 order is before it"
