"""What looks like a credential is masked."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fulfillment_worker.core.redaction import quoted, redact, redact_url, redacted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://user:hunter2@host:6379/0", "redis://***@host:6379/0"),
        ("at rediss://:hunt@er2@host, and", "at rediss://***@host, and"),
        ("https://x.test/?token=hunter2&a=1", "https://x.test/?token=***&a=1"),
        ("redis_password=hunter2", "redis_password=***"),
        ("http://host/path@home", "http://host/path@home"),
        ('{"api-key": "hunter2", "id": "A-1"}', '{"api-key": "***", "id": "A-1"}'),
        ("{'Authorization': 'Basic aHVudGVyMg=='}", "{'Authorization': '***'}"),
        ("Authorization: Bearer eyJhbGciOi.J9.hunter2", "Authorization: Bearer ***"),
        ("the bearer of bad-tidings-and-more", "the bearer of bad-tidings-and-more"),
        ("unexpected token: ']'", "unexpected token: ']'"),
        ("a@b.test", "a@b.test"),
        ("redis://:hunter2 can't be reached", "redis://*** can't be reached"),
        ("redis://:hunter2/0?db=1", "redis://***/0?db=1"),
        ("http://:8080/health", "http://:8080/health"),
    ],
)
def test_redaction_masks_credentials_in_any_text(text: str, expected: str) -> None:
    assert redact(text) == expected


def test_redaction_of_a_long_text_cuts_no_credential_in_two() -> None:
    text = "x" * 90 + " redis://user:" + "hunter2" * 10 + "@host"
    assert redacted(text, 110) == "x" * 90 + " redis://***@host"
    assert redacted("x" * 111, 110) == "x" * 110 + "…"


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=8))
def test_redaction_of_a_malformed_url_shows_no_password(secret: str) -> None:
    assume(secret not in "redis://***@h:no-port/0")
    assert secret not in redact_url(f"redis://user:{secret}@h:no-port/0")


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("redis://:hunter2", "redis://***"),
        ("redis://:hunter2/0", "redis://***"),
        ("redis://localhost:6379/x", "redis://localhost:6379/x"),
        ("redis://[::1]:1/x", "redis://[::1]:1/x"),
        ("redis://h?password=hunter2&db=1", "redis://h?password=***&db=***"),
        (":hunter2@h:1", "***@h:1"),
        ("https://u:hunter2@shop.example/x", "https://***@shop.example/x"),
        ("plain", "plain"),
    ],
)
def test_redaction_of_a_url_goes_by_its_looks(text: str, redacted: str) -> None:
    assert redact_url(text) == redacted


def test_quoted_value_is_one_short_line() -> None:
    assert quoted("a\x1b[31m\n") == r"'a\x1b[31m\n'"
    assert len(quoted("x" * 10_000)) < 120
