"""What may become of a dead letter's bytes when somebody edits them."""

from __future__ import annotations

import re

import pytest

from fulfillment_worker.admin.rules.editing import (
    as_before,
    difference,
    fault_of,
    id_of,
    readable,
    with_fields,
)

EXACT = b'{"order_id":"A","price":1.10,"n":123456789012345678901234567890}'


def fault(new: bytes, order_id: str = "A", max_bytes: int = 1000) -> str:
    return fault_of(new, order_id, id_field="order_id", max_bytes=max_bytes)


@pytest.mark.parametrize(
    "raw", [EXACT, b'{"order_id": "A", "price": 1.10}', b'{"order_id":"\\u00e4", "x" : [ ] }']
)
def test_editing_keeps_the_tokens_and_the_white_space(raw: bytes) -> None:
    text = readable(raw)
    assert text.count(b"\n") > 1
    again = as_before(raw, text)
    assert again.replace(b" ", b"") == raw.replace(b" ", b"")
    if raw != b'{"order_id":"\\u00e4", "x" : [ ] }':
        assert again == raw


@pytest.mark.parametrize("raw", [b"\xff", b"", b"{", b"[" * 10_000, b'{"a":1}}'])
def test_editing_shows_what_is_no_json_as_it_is(raw: bytes) -> None:
    assert readable(raw) == raw
    assert as_before(raw, raw + b"\n") == raw


@pytest.mark.parametrize(
    ("assignments", "after"),
    [
        (["price=2.50"], b'{"order_id":"A","price":2.50,"n":123456789012345678901234567890}'),
        (['a="b=c"'], EXACT[:-1] + b',"a":"b=c"}'),
        (["a.b.c=[1, 2]", "a.d=null"], EXACT[:-1] + b',"a":{"b":{"c":[1,2]},"d":null}}'),
    ],
)
def test_setting_fields_leaves_the_others_as_they_are_written(
    assignments: list[str], after: bytes
) -> None:
    assert with_fields(EXACT, assignments) == after


def test_setting_a_field_with_a_dot_in_its_name_is_no_path() -> None:
    assert with_fields(b'{"a.b":1}', ["a.b=2"]) == b'{"a.b":2}'


@pytest.mark.parametrize(
    ("assignment", "why"),
    [
        ("price", "give FIELD=JSON"),
        ("=1", "give FIELD=JSON"),
        ("a=b", "the value of 'a' is no JSON"),
        ("a=1 2", "the value of 'a' is no JSON"),
        ("price.x=1", "'price.x' can't be set: the field 'price' is no JSON object"),
        ("a.b.c.d=1", "'a.b.c.d' can't be set: the field 'a.b' is no JSON object"),
    ],
)
def test_setting_a_field_says_what_is_wrong(assignment: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        with_fields(b'{"price":1,"a":{"b":2}}', [assignment])


def test_setting_a_field_of_what_is_no_order_is_refused() -> None:
    with pytest.raises(ValueError, match="'a' can't be set: the order is no JSON object"):
        with_fields(b"[]", ["a=1"])


def test_fault_of_an_edit_is_told() -> None:
    assert fault(EXACT) == fault(b'{"order_id":"B"}', "") == fault(b'{"order_id":7}', "7") == ""
    assert (
        fault(b'{"order_id":"B"}') == "its order_id is 'B', and the letter's is 'A': the id stays"
    )
    assert fault(b"[]").startswith("it is no order: ")
    assert fault(EXACT, max_bytes=10).startswith("it is no order: too large")
    assert id_of(b'{"order_id":7}', id_field="order_id") == "7"


def test_difference_is_told_line_by_line() -> None:
    told = difference(b'{"a":1,"b":2}', b'{"a":1,"b":3}')
    assert told[2:] == ["@@ -1,4 +1,4 @@", " {", '   "a": 1,', '-  "b": 2', '+  "b": 3', " }"]
    assert difference(b'{"a":1}', b'{"a": 1}') == ["(only white space differs)"]
    assert "-\\xff" in difference(b"\xff", b"{}")
