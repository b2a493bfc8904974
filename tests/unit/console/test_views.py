"""What pages show of queues."""

from __future__ import annotations

from typing import Any

import msgspec

from fulfillment_worker.admin.inspector import Overview, WorkerInfo
from fulfillment_worker.admin.operator import Act
from fulfillment_worker.admin.rules.causes import DeadLetter, grouped
from fulfillment_worker.admin.rules.why import Standing
from fulfillment_worker.admin.running import Running, RunningOrder
from fulfillment_worker.admin.whereabouts import Failure
from fulfillment_worker.console import views
from fulfillment_worker.console.blot import BLOT
from fulfillment_worker.console.records import Letter, Letters, State
from fulfillment_worker.console.remembered import Seen
from fulfillment_worker.core.exchange import LimitUse
from fulfillment_worker.core.limits import Limits, Rate

NOW = 1_000_000_000_000
WORKER = WorkerInfo("w-1", NOW, 2)


def state(standing: dict[str, Any] | None = None, **overview: Any) -> State:
    usual: dict[str, Any] = {
        "queue": "orders",
        "at": NOW,
        "waiting": 4,
        "oldest": NOW - 120_000,
        "in_flight": 2,
        "retrying": 1,
        "dead": 3,
        "paused": False,
        "received": 20,
        "fulfilled": 10,
        "duplicates": 3,
        "dropped": 1,
        "workers": [WORKER],
    }
    return State(Overview(**usual | overview), Standing(now=NOW, workers=1, **standing or {}))


def dead_letter(number: int = 1, **fields: Any) -> DeadLetter:
    usual: dict[str, Any] = {
        "queue": "orders",
        "number": number,
        "order_id": f"A-{number}",
        "reason": "rejected",
        "error": f"no such SKU M-{number}",
        "at": NOW + number,
        "worker": "w-1",
        "failures": 1,
        "orphanings": 0,
        "first_seen": NOW,
        "size": 10,
    }
    return DeadLetter(**usual | fields)


def letters(*each: DeadLetter, complete: bool = True) -> Seen[Letters]:
    return Seen(Letters(list(each), grouped(each), complete), NOW)


def texts(notices: list[dict[str, Any]]) -> list[str]:
    return [notice["text"] for notice in notices]


def test_overview_of_a_healthy_queue_has_nothing_to_say() -> None:
    shown = views.queue("orders", state())
    assert shown["notices"] == []
    assert shown["balance"]["text"] == "All 20 orders received are accounted for"
    assert sum(count for _, count in shown["balance"]["terms"]) == 20
    assert shown["places"][0] == {
        "label": "waiting", "count": 4, "hint": "oldest 2 min", "tone": "",
    }  # fmt: skip


def test_overview_of_books_that_do_not_balance_says_so_first() -> None:
    shown = views.queue("orders", state(received=22, workers=[]))
    assert not shown["balance"]["ok"]
    assert shown["balance"]["text"] == "2 of 22 orders are unaccounted for"
    assert "don't balance" in shown["notices"][0]["text"]
    assert shown["notices"][1] == {
        "tone": "bad", "text": "No worker is alive.", "since": None, "why": "",
    }  # fmt: skip
    more = views.balance(state(received=19).overview)
    assert more["text"] == "1 more orders are counted than the 19 received"


def test_overview_tells_who_has_paused_it_and_why() -> None:
    paused = {"paused_by": "ops@host.example.com", "paused_at": 5, "paused_why": "card=4111"}
    (notice,) = views.notices(state(paused, paused=True))
    assert notice["since"] == 5
    assert notice["text"] == "It is paused by ops@host.example.com"
    assert notice["why"] == f"card={BLOT}"


def test_overview_tells_of_open_breakers() -> None:
    broken = WorkerInfo("w-1", NOW, 0, breaker_open=True)
    (text,) = texts(views.notices(state({"breakers_open": 1}, workers=[broken])))
    assert text.startswith("The circuit breaker is open in 1 of 1 workers")


def test_overview_shows_limits_and_their_use() -> None:
    limits = Limits(rate=Rate(10, "s"), in_flight=20)
    shown = views.queue("orders", state(limits=limits, used=LimitUse(started=3)))["limits"]
    assert [(each["name"], each["limit"], each["used"]) for each in shown] == [
        ("rate", "10/s, 2 at once", "3 in the last second"),
        ("in flight", "20", "2"),
    ]


def test_overview_of_a_queue_never_read_is_unknown() -> None:
    shown = views.overview({"orders": Seen(None, 0, "Redis is away")}, {"orders": Seen()})
    assert shown["queues"] == [{"name": "orders", "known": False}]
    assert shown["stale"] == {"fault": "Redis is away", "at": 0}
    assert shown["dead"]["groups"] == []


def test_stale_is_as_old_as_its_oldest_part() -> None:
    seen = [Seen(1, 5), Seen(1, 3, "away"), Seen(1, 4, "away")]
    assert views.freshness(seen) == {"fault": "away", "at": 3}
    assert views.freshness(seen[:1]) == {"fault": "", "at": 0}


def test_dead_letters_are_grouped_the_most_frequent_first() -> None:
    one = dead_letter(3, reason="invalid", error="not JSON")
    shown = views.dead({"orders": letters(dead_letter(1), dead_letter(2), one)}, 1)
    assert [(each["count"], each["error"]) for each in shown["groups"]] == [(2, "no such SKU #")]
    assert (shown["more"], shown["partial"], shown["read"]) == (1, [], 3)
    assert views.dead({"orders": letters(one, complete=False)})["partial"] == ["orders"]


def test_group_lists_its_letters_and_no_others() -> None:
    seen = letters(dead_letter(2), dead_letter(1), dead_letter(3, error="other"))
    assert seen.value
    group = next(each for each in seen.value.groups if each.count == 2)
    shown = views.group(seen, group, 1)
    assert [each["number"] for each in shown["letters"]] == [2]
    assert shown["more"] == 1


def test_letter_is_blotted_through_and_through() -> None:
    mail = "jane@shop.example.com"
    found = Letter(
        dead_letter(error=f"no mail to {mail}"),
        b'{"order_id": "A-1", "email": "jane", "items": ["MUG"]}',
        [Failure(1, NOW, mail)],
        f"Traceback\n  {mail}",
    )
    shown = views.letter(found, "rejected-1234", "order_id")
    assert mail not in str(shown)
    assert '"email": "jane"' not in shown["body"]
    assert '"MUG"' in shown["body"]
    assert (shown["number"], shown["group"]) == (1, "rejected-1234")
    msgspec.json.encode(shown)


def test_letter_that_is_too_large_has_no_body() -> None:
    assert views.letter(Letter(dead_letter(), None, [], ""), "", "order_id")["body"] is None


def test_workers_are_shown_with_what_they_run() -> None:
    held = Running([RunningOrder(order_id="A-1", worker="w-1", attempt=1, started_at=NOW)], False)
    (queue,) = views.workers({"orders": Seen(state(), NOW)}, {"orders": Seen(held, NOW)})["queues"]
    assert queue["workers"][0]["name"] == "w-1"
    assert queue["orders"][0]["order_id"] == "A-1"
    assert not queue["complete"]
    (nothing,) = views.workers({"orders": Seen()}, {"orders": Seen()})["queues"]
    assert (nothing["workers"], nothing["orders"], nothing["at"]) == ([], [], 0)


def test_audit_has_the_newest_first_of_all_queues() -> None:
    first = Act("orders", 1, "ops", "hold", order_id="A-1", why="mail jane@shop.example.com")
    last = Act("returns", 2, "ops", "limit", what="rate 10/s", before=b"secret")
    shown = views.acts({"orders": Seen([first], 1), "returns": Seen([last], 1)}, 10)
    assert [each["act"] for each in shown["acts"]] == ["limit", "hold"]
    assert shown["acts"][0]["what"] == "rate 10/s"
    assert "secret" not in str(shown)
    assert shown["acts"][1]["why"] == f"mail {BLOT}"
    assert views.acts({"orders": Seen([first, last], 1)}, 1)["acts"][0]["act"] == "limit"
