"""Where an order is, wherever it is."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_redis import FakeRedis


def order(order_id: object, **fields: object) -> bytes:
    return json.dumps({"order_id": order_id, **fields}).encode()


def entry(raw: bytes) -> bytes:
    return b"1 0 0 1000\n" + raw


def found(cli: Run, *args: str) -> list[dict[str, Any]]:
    result = cli("status", "--json", *args)
    answer: list[dict[str, Any]] = json.loads(result.stdout)
    assert result.exit_code == int(any(each["status"] == "unknown" for each in answer))
    return answer


def test_a_record_is_told_in_full(cli: Run, fake: FakeRedis) -> None:
    fake.hashes["{orders}:order:A"] = {
        b"status": b"retrying",
        b"attempt": b"2",
        b"worker": b"w-1",
        b"error": b"carrier is down",
        b"traceback": b"Traceback:\n  line",
        b"queued_at": b"1000",
        b"started_at": b"2000",
        b"next_attempt_at": b"1.7e3",
        b"history": b'{"attempt":1,"at":2000,"error":"x"}\nrubbish\n'
        b'{"attempt":2,"at":3000,"error":"y"}\n',
    }
    assert found(cli, "A") == [
        {
            "order_id": "A",
            "queue": "orders",
            "status": "retrying",
            "attempt": 2,
            "worker": "w-1",
            "error": "carrier is down",
            "traceback": "Traceback:\n  line",
            "position": None,
            "queued_at": 1000,
            "started_at": 2000,
            "finished_at": None,
            "next_attempt_at": 1700,
            "reason": None,
            "waits_for": None,
            "held_by": [],
            "postponed": None,
            "note": None,
            "by": None,
            "held_at": None,
            "wish": None,
            "wish_by": None,
            "wish_why": None,
            "wish_at": None,
            "history": [
                {"attempt": 1, "at": 2000, "error": "x"},
                {"attempt": 2, "at": 3000, "error": "y"},
            ],
            "why": "its next attempt is due, and no worker is alive",
        }
    ]


def test_a_waiting_order_has_its_place_in_line(cli: Run, fake: FakeRedis) -> None:
    fake.lists["orders"] = [order(number) for number in range(1300, 0, -1)]
    fake.lists["{orders}:woken"] = [order("woken")]
    places = [(each["status"], each["position"]) for each in found(cli, "woken", "1", "2", "1300")]
    assert places == [("waiting", 1), ("waiting", 2), ("waiting", 3), ("waiting", 1301)]


def test_of_two_copies_the_nearer_counts(cli: Run, fake: FakeRedis) -> None:
    fake.lists["orders"] = [order("A"), order("B"), order("A"), order("C")]
    assert found(cli, "A")[0]["position"] == 2
    fake.lists["{orders}:woken"] = [order("A")]
    assert found(cli, "A")[0]["position"] == 1


def test_an_escaped_id_is_found(cli: Run, fake: FakeRedis) -> None:
    fake.lists["orders"] = [b'{"order_id":"caf\\u00e9"}', b"\xff{", order("other", note="A")]
    assert found(cli, "café", "A")[0]["position"] == 3


def test_an_order_without_a_record_is_found_among_the_internal_ones(
    cli: Run, fake: FakeRedis
) -> None:
    fake.zsets["{orders}:retry"] = {entry(order("requeued")): 1.0}
    fake.lists["{orders}:suspects"] = [entry(order("suspect"))]
    fake.zsets["{orders}:leases"] = {b"w-1": 5000.0}
    fake.hashes["{orders}:in_flight:w-1"] = {b"1": entry(order("held"))}
    answers = found(cli, "requeued", "suspect", "held")
    assert [(each["status"], each["worker"]) for each in answers] == [
        ("retrying", None),
        ("retrying", None),
        ("claimed", "w-1"),
    ]


def test_all_queues_are_searched(cli: Run, fake: FakeRedis) -> None:
    fake.hashes["{express}:order:A"] = {b"status": b"fulfilled"}
    fake.lists["orders"] = [order("B")]
    answers = found(cli, "A", "B", "--queue", "express,orders")
    assert [each["queue"] for each in answers] == ["express", "orders"]


def test_an_unknown_order_is_exit_1(cli: Run, fake: FakeRedis) -> None:
    fake.lists["orders"] = [order("A")]
    assert found(cli, "A", "B")[1] == {"order_id": "B", "status": "unknown"}
    result = cli("status", "A", "B")
    assert result.exit_code == 1
    assert result.stdout.startswith("A  waiting, number 1 in line\n")
    assert "\nB  unknown: " in result.stdout


def test_people_get_times_and_history(cli: Run, fake: FakeRedis) -> None:
    fake.hashes["{orders}:order:A"] = {
        b"status": b"dead",
        b"attempt": b"2",
        b"worker": b"w-1",
        b"error": b"no such SKU",
        b"traceback": b"Traceback:\n  File \x1b[2J",
        b"finished_at": b"86400000",
        b"history": b'{"attempt":1,"at":1000,"error":"carrier is down"}\n',
    }
    text = cli("status", "A").stdout
    assert "A  dead\n" in text
    assert "d ago)" in text
    assert "1970-01-0" in text
    assert "failed (1)" in text
    assert "carrier is down" in text
    assert text.endswith("  Traceback:\n    File \\x1b[2J\n")


def test_what_orders_say_cannot_steer_the_terminal(cli: Run, fake: FakeRedis) -> None:
    fake.hashes["{orders}:order:\x1b]0;x"] = {b"status": b"dead", b"error": b"\x1b[2J\xff\nline"}
    text = cli("status", "\x1b]0;x").stdout
    assert "\x1b" not in text
    assert r"\x1b]0;x  dead" in text
    assert r"\x1b[2J\xff\nline" in text


def test_a_time_beyond_the_calendar_is_no_traceback(cli: Run, fake: FakeRedis) -> None:
    fake.hashes["{orders}:order:A"] = {b"status": b"dead", b"queued_at": b"9" * 30}
    assert "ms after 1970" in cli("status", "A").stdout
    fake.hashes["{orders}:order:A"] = {b"status": b"dead", b"attempt": b"x", b"queued_at": b"inf"}
    assert found(cli, "A")[0]["queued_at"] is None


def test_status_of_a_dead_letter_is_that_of_its_last_one(cli: Run, fake: FakeRedis) -> None:
    """Its hash has expired; the letter is there until an operator decides."""
    fake.hashes["{orders}:dead"] = {
        b"7": b'{"order_id":"A","error":"late","at":7000,"failures":5,"worker":"w-1"}\n{}',
        b"3": b'{"order_id":"A","error":"early","at":3000,"failures":1}\n{}',
        b"4": b'{"order_id":"B"}\n{}',
    }
    (told,) = found(cli, "A")
    assert (told["status"], told["error"], told["attempt"]) == ("dead", "late", 5)
    assert (told["finished_at"], told["worker"]) == (7000, "w-1")
