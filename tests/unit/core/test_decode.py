"""Bytes to orders: never an exception, always a reason."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fulfillment_worker.core.decode import (
    Decoded,
    NotJson,
    Undecodable,
    decode,
    enqueued_unix,
    split_array,
)


def read(raw: bytes, max_bytes: int = 1024 * 1024) -> Decoded | Undecodable:
    return decode(raw, id_field="order_id", max_bytes=max_bytes)


def read_body(**body: Any) -> Decoded:
    decoded = read(json.dumps({"order_id": "A", **body}).encode())
    assert isinstance(decoded, Decoded)
    return decoded


@pytest.mark.parametrize(
    ("raw", "order_id"),
    [
        (b'{"order_id": "A-1001"}', "A-1001"),
        (b'{"order_id": 7}', "7"),
        (b'{"order_id": -7}', "-7"),
        (b'{"order_id": 123456789012345678901234567890}', "123456789012345678901234567890"),
        (b' {"order_id": "a b"} \n', "a b"),
        ('{"order_id": "\u00f8\u2603\U0001f600"}'.encode(), "\u00f8\u2603\U0001f600"),
        (b'{"order_id": "\\u0041"}', "A"),
        (b'{"order_id": "' + b"x" * 128 + b'"}', "x" * 128),
    ],
)
def test_ids_that_are_allowed(raw: bytes, order_id: str) -> None:
    decoded = read(raw)
    assert isinstance(decoded, Decoded)
    assert decoded.id == order_id


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "empty"),
        (b"   ", "not JSON"),
        (b"not json", "not JSON"),
        (b"{'order_id': 'A'}", "not JSON"),
        (b'{"order_id": "A"} x', "not JSON"),
        (b'{"order_id": NaN}', "not JSON"),
        (b'\xef\xbb\xbf{"order_id": "A"}', "not JSON"),
        (b'{"order_id": "A\xff"}', "not UTF-8 (byte 15)"),
        (b'{"note": "\xc3("}', "not UTF-8"),
        (b'{"order_id": "\\ud800"}', "half a surrogate pair"),
        (b'{"order_id": "A\\udc00"}', "half a surrogate pair"),
        (b'{"order_id": "A", "note": "\\ud83d", "total": NaN}', "not JSON"),
        (b'{"order_id": "A", "note": "\\ud83d"', "not JSON"),
        (b'{"order_id": "A", "total": 1e999, "note": Infinity}', "not JSON"),
        (b"[]", "an array"),
        (b'"A"', "a string"),
        (b"7", "a number"),
        (b"true", "a boolean"),
        (b"null", "null"),
        (b"{}", "is missing"),
        (b'{"id": "A"}', "is missing"),
        (b'{"order_id": null}', "is null"),
        (b'{"order_id": true}', "is a boolean"),
        (b'{"order_id": 1.0}', "is a number, a string or an integer"),
        (b'{"order_id": []}', "is an array"),
        (b'{"order_id": {}}', "is an object"),
        (b'{"order_id": ""}', "has 0 characters"),
        (b'{"order_id": "' + b"x" * 129 + b'"}', "has 129 characters"),
        (b'{"order_id": "a\\nb"}', "control character"),
        (b'{"order_id": "a\\u0000b"}', "control character"),
        (b'{"order_id": "a\\u007fb"}', "control character"),
        (b'{"order_id": "a\\u0085b"}', "control character"),
        (b'{"order_id": ' + b"9" * 129 + b"}", "more than 128 digits"),
        (b'{"order_id": 1e999}', "is a number"),
        (b"[" * 5000 + b"]" * 5000, "nested too deeply"),
        (b'{"order_id": "A", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}", "nested too deeply"),
    ],
)
def test_what_is_no_order_says_why(raw: bytes, why: str) -> None:
    decoded = read(raw)
    assert isinstance(decoded, Undecodable)
    assert why in decoded.why
    assert "\n" not in decoded.why


def test_the_size_is_bounded_before_anything_is_parsed() -> None:
    raw = b'{"order_id": "A"}'
    assert isinstance(read(raw, max_bytes=len(raw)), Decoded)
    too_large = read(raw, max_bytes=len(raw) - 1)
    assert too_large == Undecodable("too large: 17 bytes, at most 16 are allowed")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'"party \\ud83d"', "party \ud83d"),
        (b'"\\ude00 party"', "\ude00 party"),
        (b'"\\ud83d\\u0041"', "\ud83dA"),
        (b'{"\\ud83d": 1}', {"\ud83d": 1}),
        (b"1e999", math.inf),
        (b"-1e999", -math.inf),
        (b"9" * 400, 10**400 - 1),
        (b"9" * 5000, math.inf),
        (b"-" + b"9" * 5000, -math.inf),
    ],
)
def test_legal_json_that_the_fast_parser_refuses_is_an_order(text: bytes, value: object) -> None:
    decoded = read(b'{"order_id": "A", "x": ' + text + b"}")
    assert isinstance(decoded, Decoded)
    assert decoded.body == {"order_id": "A", "x": value}


@pytest.mark.parametrize(("open_", "close"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_of_200_levels_is_an_order_and_one_more_is_invalid(
    open_: bytes, close: bytes
) -> None:
    def nested(levels: int) -> Decoded | Undecodable:
        inner = open_ * (levels - 1) + b"1" + close * (levels - 1)
        return read(b'{"order_id": "A", "x": ' + inner + b"}")

    assert isinstance(nested(200), Decoded)
    too_deep = Undecodable("nested too deeply: at most 200 levels are allowed")
    assert nested(201) == nested(500) == nested(100_000) == too_deep


def test_nesting_counts_levels_and_not_brackets() -> None:
    wide = {"order_id": "A", "items": [{"tags": ["[["]}] * 1000, "note": "[" * 500}
    assert isinstance(read(json.dumps(wide).encode()), Decoded)


def test_array_is_split_into_the_very_bytes_of_its_items() -> None:
    raw = b' [ {"order_id": "A" , "n": "\\ud83d]"} ,\n{"order_id":2,"x":1e999}, [ ] ] '
    items = [b'{"order_id": "A" , "n": "\\ud83d]"}', b'{"order_id":2,"x":1e999}', b"[ ]"]
    assert split_array(raw) == items
    assert split_array(b'["\\ud83d"]') == [b'"\\ud83d"']
    assert split_array(b"[]") == []


@pytest.mark.parametrize("raw", [b'"\\ud83d"', b'["\\ud83d"', b"{}", b"[NaN]", b"[\xff]"])
def test_array_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(NotJson):
        split_array(raw)


def test_another_field_may_hold_the_id() -> None:
    decoded = decode(b'{"nr": 5}', id_field="nr", max_bytes=100)
    assert isinstance(decoded, Decoded)
    assert decoded.id == "5"


def test_the_body_is_untouched() -> None:
    body = {"order_id": "A", "items": [{"sku": "x", "n": 2}], "note": None, "total": 1.5}
    decoded = read(json.dumps(body).encode())
    assert isinstance(decoded, Decoded)
    assert decoded.body == body


@pytest.mark.parametrize(
    ("body", "unix"),
    [
        ({"enqueued_at": 1700000000}, 1700000000.0),
        ({"enqueued_at": 1700000000.25}, 1700000000.25),
        ({"enqueued_at": "2023-11-14T22:13:20Z"}, 1700000000.0),
        ({"enqueued_at": "2023-11-14T23:13:20.5+01:00"}, 1700000000.5),
        ({"created_at": 1700000000}, 1700000000.0),
        ({"enqueued_at": "soon", "created_at": 1700000000}, 1700000000.0),
        ({"enqueued_at": 1600000000, "created_at": 1700000000}, 1600000000.0),
        ({}, None),
        ({"enqueued_at": "2023-11-14"}, None),
        ({"enqueued_at": "2023-11-14T22:13:20"}, None),
        ({"enqueued_at": -1}, None),
        ({"enqueued_at": "0001-01-01T00:00:00Z"}, None),
        ({"enqueued_at": "1969-12-31T23:59:59Z"}, None),
        ({"enqueued_at": 1700000000000}, None),
        ({"enqueued_at": 1700000000000000}, None),
        ({"enqueued_at": 0}, None),
        ({"enqueued_at": 0.0}, None),
        ({"enqueued_at": "1970-01-01T00:00:00Z"}, None),
        ({"enqueued_at": "1999-12-31T23:59:59Z"}, None),
        ({"enqueued_at": "2000-01-01T00:00:00Z"}, 946684800.0),
        ({"enqueued_at": 946684799.9}, None),
        ({"enqueued_at": 946684800}, 946684800.0),
        ({"enqueued_at": 0, "created_at": 1700000000}, 1700000000.0),
        ({"enqueued_at": 10**400}, None),
        ({"enqueued_at": "\ud83d"}, None),
        ({"enqueued_at": True}, None),
        ({"enqueued_at": None}, None),
        ({"enqueued_at": [1]}, None),
    ],
)
def test_the_time_of_enqueueing(body: dict[str, Any], unix: float | None) -> None:
    assert enqueued_unix(body) == unix
    assert read_body(**body).enqueued_unix == unix


PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_trace_context() -> None:
    decoded = read_body(traceparent=PARENT, tracestate="vendor=1")
    assert (decoded.traceparent, decoded.tracestate) == (PARENT, "vendor=1")


@pytest.mark.parametrize(
    "parent",
    [
        *("", "x", PARENT[:-1], PARENT + "0", PARENT + "\n", PARENT.upper(), "01" + PARENT[2:]),
        *("00-" + "0" * 32 + PARENT[35:], PARENT[:36] + "0" * 16 + "-01"),
        *(5, None, [], {}),
    ],
)
def test_malformed_trace_context_is_ignored(parent: object) -> None:
    decoded = read_body(traceparent=parent, tracestate="vendor=1")
    assert (decoded.traceparent, decoded.tracestate) == (None, None)


@pytest.mark.parametrize("state", ["", "a\nb", "x" * 513, 5, None])
def test_malformed_trace_state_is_ignored_alone(state: object) -> None:
    decoded = read_body(traceparent=PARENT, tracestate=state)
    assert (decoded.traceparent, decoded.tracestate) == (PARENT, None)


@given(st.binary(max_size=200))
@example(b'{"order_id": 1')
def test_any_bytes_give_an_order_or_a_reason(raw: bytes) -> None:
    decoded = read(raw)
    assert isinstance(decoded, Undecodable) == (not isinstance(decoded, Decoded))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON, JSON, JSON)
def test_any_json_in_the_known_fields_gives_an_order_or_a_reason(
    order_id: object, time: object, trace: object
) -> None:
    body = {"order_id": order_id, "enqueued_at": time, "traceparent": trace, "tracestate": trace}
    decoded = read(json.dumps(body).encode("utf-8", "surrogatepass"))
    assert isinstance(decoded, Decoded | Undecodable)
    if isinstance(decoded, Decoded):
        assert decoded.id == str(order_id)
