"""retry_after: what servers write there, and what is made of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from fulfillment_worker.handlers.retry_after import LONGEST_SECONDS, retry_after

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("30", 30.0),
        (" 30 ", 30.0),
        ("86400", LONGEST_SECONDS),
        ("86401", LONGEST_SECONDS),
        ("9" * 5000, LONGEST_SECONDS),
        ("0", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("30, 60", None),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:28:30 -0000", 30.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", None),
        ("Fri, 21 Oct 2095 07:28:00 GMT", LONGEST_SECONDS),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        ("Wed, 21 Oct 99999999999 07:28:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 +999999999", None),
    ],
)
def test_seconds_and_dates(value: str, expected: float | None) -> None:
    assert retry_after({"retry-after": value, "date": DATE}) == expected


def test_without_the_header() -> None:
    assert retry_after({}) is None


@pytest.mark.parametrize("headers", [{}, {"date": "rubbish"}])
def test_a_date_counts_from_now_where_the_server_tells_no_time(headers: dict[str, str]) -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    seconds = retry_after({"retry-after": then, **headers})
    assert seconds is not None
    assert 0 < seconds <= 100
