"""What dead letters have in common."""

from __future__ import annotations

from typing import Any

import pytest

from fulfillment_worker.admin.rules import causes
from fulfillment_worker.admin.rules.causes import Cause, DeadLetter, grouped, names, normalised


def letter(number: int, **fields: Any) -> DeadLetter:
    known: dict[str, Any] = {
        "queue": "orders",
        "order_id": f"A-{number}",
        "reason": "rejected",
        "error": "no such SKU",
        "at": number,
        "worker": "w",
        "failures": 1,
        "orphanings": 0,
        "first_seen": 0,
        "size": 10,
    }
    return DeadLetter(number=number, **(known | fields))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("no such SKU MUG-12", "no such SKU #"),
        ("not UTF-8 (byte 17)", "not # (byte #)"),
        ("order 5f1e9f4c-9b1e-4f0e-8a55-0c3b2f1d6a7e is odd", "order # is odd"),
        ("KeyError: 'items'", "KeyError: 'items'"),
        ("KeyError: 'depot'", "KeyError: 'depot'"),
        ("shop answered 503 Service Unavailable", "shop answered 503 Service Unavailable"),
        ("shop answered 404 Not Found", "shop answered 404 Not Found"),
        ("HTTP 5031 is none", "HTTP # is none"),
        ("took 1.5 s,\n  not  0x1F", "took # s, not #"),
        ("KeyError: 'a' (shop/v2.py:12 in A.f)", "KeyError: 'a' (shop/v2.py in A.f)"),
        ("KeyError: 7 (shop.py:7 in f.<locals>.g)", "KeyError: # (shop.py in f.<locals>.g)"),
        ("", ""),
    ],
)
def test_what_differs_from_order_to_order_is_left_out(error: str, told: str) -> None:
    assert normalised(error) == told


def test_an_id_without_digits_is_left_out_where_it_stands_alone() -> None:
    assert normalised("bob is not bobby", "bob") == "# is not bobby"
    assert normalised("(a.b) not axb", "a.b") == "(#) not axb"


def test_a_long_error_is_cut_and_quickly() -> None:
    assert len(normalised("x" * 1_000_000)) == 200
    assert len(normalised("a b " * 1_000_000)) == 200


def test_similar_ones_are_one_group_and_the_most_frequent_comes_first() -> None:
    letters = [
        letter(1, error="odd"),
        *(letter(number, error=f"no SKU {number}") for number in (2, 3, 4)),
        letter(5, error="odd", reason="attempts_exhausted"),
    ]
    first, *others = grouped(letters)
    assert (first.count, first.error, first.newest, first.oldest) == (3, "no SKU #", 4, 2)
    assert first.example == "A-4"
    assert {group.reason for group in others} == {"rejected", "attempts_exhausted"}


def test_the_example_has_an_id_if_any_has() -> None:
    letters = [letter(1, order_id="B"), letter(2, order_id="")]
    assert [group.example for group in grouped(letters)] == ["B"]
    assert [group.example for group in grouped(letters[1:])] == [""]


def test_queues_are_apart_and_the_same_cause_has_the_same_name() -> None:
    groups = grouped([letter(1), letter(1, queue="express")])
    assert {group.queue for group in groups} == {"orders", "express"}
    assert len({group.group for group in groups}) == 1


def test_a_name_is_short_and_stays_the_same() -> None:
    assert names([Cause("rejected", "no such SKU #")]).popitem()[1] == "rejected-5efb"


def test_two_that_would_share_a_name_get_longer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causes, "_DIGITS", (0, 4, 64))
    one, two, other = Cause("rejected", "x"), Cause("rejected", "y"), Cause("orphaned", "x")
    named = names([one, two, other, one])
    assert named[other] == "orphaned-"
    assert len({named[one], named[two]}) == 2
    assert all(len(named[each]) == len("rejected-") + 4 for each in (one, two))
