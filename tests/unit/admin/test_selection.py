"""Names of dead letters mean what was meant, or are refused."""

from __future__ import annotations

import pytest

from fulfillment_worker.admin.rules.selection import Selection, selected
from tests.unit.admin.test_causes import letter

ONE, TWO = letter(1, order_id="A"), letter(2, order_id="A", error="odd")
THREE, NAMELESS = letter(3, order_id="7"), letter(7, order_id="", reason="invalid", error="rubbish")
ALL = [ONE, TWO, THREE, NAMELESS]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("1", [ONE]),
        ("letter:7", [NAMELESS]),
        ("order:7", [THREE]),
        ("A", [ONE, TWO]),
        (f"rejected-{ONE.cause.name(4)[-4:]}", [ONE, THREE]),
        (f"group:{NAMELESS.cause.name(4)}", [NAMELESS]),
    ],
)
def test_a_name_is_a_number_an_order_or_a_group(name: str, meant: list[object]) -> None:
    assert selected(ALL, [name]) == Selection(meant, [], [])  # type: ignore[arg-type]


def test_a_name_that_fits_two_is_ambiguous() -> None:
    assert selected(ALL, ["7", "1"]) == Selection([ONE], [], ["7"])
    assert selected([letter(7, order_id="7")], ["7"]).ambiguous == []


def test_a_number_that_two_queues_have_is_ambiguous() -> None:
    both = [letter(1, order_id="A"), letter(1, order_id="B", queue="express")]
    assert selected(both, ["1"]).ambiguous == ["1"]
    assert selected(both, ["letter:1"]).ambiguous == ["letter:1"]
    assert selected(both, ["B"]).letters == both[1:]


@pytest.mark.parametrize("name", ["8", "B", "letter:A", "order:", "group:x", ""])
def test_what_is_not_there_is_missing(name: str) -> None:
    assert selected(ALL, [name, "1"]) == Selection([ONE], [name], [])


def test_each_letter_is_meant_once() -> None:
    assert selected(ALL, ["A", "1", "2", "A"]) == Selection([ONE, TWO], [], [])
