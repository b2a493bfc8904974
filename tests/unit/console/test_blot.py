"""Personal data and secrets never reach a page; everything else does."""

from __future__ import annotations

import json

import pytest

from fulfillment_worker.console.blot import (
    BLOT,
    LONGEST,
    blot_fields,
    blot_line,
    blot_lines,
    blot_order,
    blot_text,
    is_personal,
)


@pytest.mark.parametrize(
    "name",
    [
        *("card", "cardNumber", "credit_card", "CVC", "iban", "password", "user-password"),
        *("token", "access_token", "apiKey", "email", "E-Mail", "customer_email", "phone"),
        *("date_of_birth", "Authorization", "client_secret"),
    ],
)
def test_blot_knows_personal_names(name: str) -> None:
    assert is_personal(name)


@pytest.mark.parametrize("name", ["order_id", "items", "sku", "name", "quantity", "total", ""])
def test_blot_leaves_other_names(name: str) -> None:
    assert not is_personal(name)


def test_blot_hides_fields_at_any_depth_whatever_they_hold() -> None:
    order = {
        "order_id": "A-1",
        "card": {"number": "4111", "exp": [1, 2]},
        "customers": [{"email": "jane@example.com", "city": "Bern"}],
        "total": 12345678901234567890123,
    }
    assert blot_fields(order) == {
        "order_id": "A-1",
        "card": BLOT,
        "customers": [{"email": BLOT, "city": "Bern"}],
        "total": 12345678901234567890123,
    }


def test_blot_shows_the_id_whatever_its_field_is_called() -> None:
    assert json.loads(blot_order(b'{"token": "A-1"}', "token")) == {"token": "A-1"}


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ('{"order_id": 1, "card": "4111-x"', "4111-x"),
        ('"email" : "a b', "a b"),
        ("password=hunter2 rest", "hunter2"),
        ("'token': 'abc\\'d'", "abc"),
        ('"{\\"card\\": \\"123\\"}"', "123"),
        ("mail to jane.doe+x@shop.example.com failed", "jane"),
        ("card 4111 1111 1111 1111 was declined", "4111"),
        ("redis://:pw@host/0", "pw"),
    ],
)
def test_blot_hides_in_text_that_is_no_json(text: str, hidden: str) -> None:
    assert hidden in text
    assert hidden not in blot_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "the carrier answered 503",
        "order 4111 1111 1111 1112 is late",  # not a card's number: it doesn't add up
        "ops@desk-3",
        "shop.py:12 in fulfil",
        "status: 404, items: [1, 2]",
    ],
)
def test_blot_leaves_other_text(text: str) -> None:
    assert blot_text(text) == text


def test_blot_makes_what_is_invisible_visible() -> None:
    assert blot_line("a\n\x1b[31m\u202eb") == "a\\n\\x1b[31m\\u202eb"
    assert blot_lines("a\tb\n\x07c") == "a    b\n\\x07c"


def test_blot_of_bytes_that_are_no_text_shows_them_as_escapes() -> None:
    assert blot_order(b"\xff\xfe{", "order_id") == "\\xff\\xfe{"


def test_blot_of_a_huge_order_is_cut() -> None:
    assert len(blot_order(b"x" * 10 * LONGEST, "order_id")) <= LONGEST + 1
    assert len(blot_order(json.dumps(["y" * 10 * LONGEST]).encode(), "order_id")) <= LONGEST + 1


def test_blot_of_a_deep_order_is_text() -> None:
    raw = b"[" * 100_000
    assert blot_order(raw, "order_id").startswith("[[[")


@pytest.mark.parametrize("field", ["note", "info"])
def test_blot_looks_into_texts_of_fields(field: str) -> None:
    shown = json.loads(blot_order(json.dumps({field: '{"email": "jane"}'}).encode(), "order_id"))
    assert "jane" not in shown[field]
