"""What the page of an order says."""

from __future__ import annotations

from typing import Any

import pytest

from fulfillment_worker.admin.operator import Act
from fulfillment_worker.admin.rules.why import Standing
from fulfillment_worker.admin.whereabouts import Failure, OrderLocation
from fulfillment_worker.console import one_order
from fulfillment_worker.console.blot import BLOT
from fulfillment_worker.console.records import Located
from fulfillment_worker.console.remembered import Seen

NOW = 1_000_000_000_000
STANDING = Standing(now=NOW, workers=1)


def located(status: str, **fields: Any) -> OrderLocation:
    return OrderLocation(order_id="A-1", queue="orders", status=status, **fields)


def says(status: str, standing: Standing | None = STANDING, **fields: Any) -> str:
    return one_order.sentence(located(status, **fields), standing)


def may_all(_: str) -> bool:
    return True


def page(found: OrderLocation | None, **more: Any) -> dict[str, Any]:
    seen = Seen(Located(found), NOW)
    return one_order.order("A-1", seen, STANDING, more.get("acts", []), more.get("may", may_all))


def test_sentence_tells_where_it_is_and_why() -> None:
    assert says("waiting", position=3) == "It waits to be handled: 2 orders are before it."
    assert says("processing", attempt=2, started_at=NOW - 5000) == (
        "It is being handled now: attempt 2 runs for 5.0 s."
    )
    assert says("fulfilled") == "It is fulfilled, and nothing is left to do."
    assert says("waiting", None) == "It waits to be handled."


def test_sentence_tells_what_killed_it() -> None:
    assert says("dead", error="no such SKU").endswith("retries or drops it: no such SKU.")


def test_sentence_tells_why_the_queue_stands_still() -> None:
    paused = Standing(now=NOW, workers=1, paused=True, paused_by="ops@a.example", paused_why="x")
    assert says("waiting", paused, position=1).endswith("paused by ops@a.example (x).")


def test_sentence_tells_what_is_wished_and_by_whom() -> None:
    told = says("retrying", wish="hold", wish_by="ops@a.example", wish_why="address?")
    assert told.endswith('it is to be held by ops@a.example, "address?", when its turn comes.')


def test_sentence_of_an_unknown_status_is_a_sentence() -> None:
    assert says("something new") == "Its status is something new."


def test_page_of_an_unknown_order_says_so_and_may_hold_it() -> None:
    shown = page(None)
    assert (shown["found"], shown["known"], shown["status"]) == (False, True, "unknown")
    assert shown["sentence"].startswith("No queue has it")
    assert shown["offers"] == ["hold", "cancel"]


def test_page_while_nothing_is_known_offers_nothing() -> None:
    shown = one_order.order("A-1", Seen(None, 0, "away"), None, [], may_all)
    assert (shown["known"], shown["offers"]) == (False, [])


def test_page_is_blotted_but_for_who_acted() -> None:
    mail = "jane@shop.example.com"
    shown = page(
        located(
            "held",
            error=mail,
            traceback=mail,
            reason=mail,
            by="ops@a.example.com",
            history=[Failure(1, 1, mail)],
            note={"email": "x", "tracking": "DHL", "weights": [1]},
        ),
        acts=[Act("orders", 1, "ops@a.example.com", "hold", order_id="A-1")],
    )
    assert mail not in str(shown)
    assert shown["note"] == [("email", BLOT), ("tracking", "DHL"), ("weights", "[1]")]
    assert "by ops@a.example.com" in shown["sentence"]
    assert shown["acts"][0]["by"] == "ops@a.example.com"


def test_page_shows_only_acts_on_this_order() -> None:
    acts = [Act("orders", 1, "ops", "hold", order_id=each) for each in ("A-1", "A-2")]
    assert len(page(located("held"), acts=acts)["acts"]) == 1


def test_timeline_is_in_the_order_of_time() -> None:
    found = located(
        "retrying",
        queued_at=1,
        started_at=5,
        attempt=2,
        next_attempt_at=9,
        wish="cancel",
        wish_at=7,
        history=[Failure(1, 3, "x"), Failure(2, 6, "y")],
    )
    steps = [(step["at"], step["what"]) for step in one_order.timeline(found)]
    assert steps == [
        (1, "queued"),
        (3, "attempt 1 failed"),
        (6, "attempt 2 failed"),
        (7, "asked to cancel"),
        (9, "next attempt"),
    ]


def test_timeline_has_the_attempt_under_way_and_the_end() -> None:
    running = located("processing", queued_at=1, started_at=2, attempt=1, worker="w-1")
    last = one_order.timeline(running)[-1]
    assert (last["what"], last["detail"]) == ("attempt 1 started", "on w-1")
    done = located("fulfilled", queued_at=1, started_at=2, finished_at=3, next_attempt_at=2)
    assert [step["what"] for step in one_order.timeline(done)] == [
        "queued",
        "attempt started",
        "fulfilled",
    ]
    gone = located("cancelled", finished_at=3, by="ops", reason="by phone")
    assert one_order.timeline(gone)[-1]["detail"] == "by ops: by phone"
    assert one_order.timeline(located("waiting")) == []


@pytest.mark.parametrize(
    ("status", "wish", "offers"),
    [
        ("waiting", None, ["hold", "cancel"]),
        ("processing", None, ["hold", "cancel"]),
        ("held", None, ["release", "cancel"]),
        ("dead", None, ["retry", "drop", "cancel"]),
        ("retrying", "hold", ["release", "cancel"]),
        ("retrying", "cancel", ["release"]),
        ("fulfilled", None, []),
        ("cancelled", None, []),
        ("something new", None, []),
    ],
)
def test_offers_make_sense_for_the_status(status: str, wish: str | None, offers: list[str]) -> None:
    assert one_order.offers(status, wish, may_all) == offers


def test_offers_are_only_what_is_allowed() -> None:
    assert one_order.offers("dead", None, lambda act: act == "retry") == ["retry"]
