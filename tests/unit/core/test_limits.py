"""Limits of the fleet, as rules: what may be given, when an attempt may start, what a key is."""

from __future__ import annotations

from typing import Any

import pytest

from fulfillment_worker.core.limits import (
    NO_LIMITS,
    Limits,
    Rate,
    Started,
    after_start,
    changed,
    key_of,
    next_start,
    no_further,
    parse_path,
    read_limits,
    tokens,
)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/s", Rate(10, "s")),
        ("600 / min", Rate(600, "m")),
        ("90/M", Rate(90, "m")),
        ("500/hour", Rate(500, "h")),
        ("1000000/s", Rate(1_000_000, "s")),
    ],
)
def test_rate_is_a_number_per_unit(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate
    assert Rate.parse(str(rate)) == rate


@pytest.mark.parametrize(
    "text", ["", "10", "0/s", "-1/s", "1.5/s", "10/d", "10/", "/s", "9999999/s"]
)
def test_rate_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"10/s, 90/m or 500/h"):
        Rate.parse(text)


@pytest.mark.parametrize(
    ("rate", "burst"), [("10/s", 2), ("1000/s", 200), ("1/s", 1), ("90/m", 1), ("500/h", 1)]
)
def test_burst_is_what_is_due_in_a_fifth_of_a_second(rate: str, burst: int) -> None:
    assert Rate.parse(rate).usual_burst == burst


@pytest.mark.parametrize(("interval", "burst"), [(100.0, 1), (100.0, 3), (0.2, 50), (1000 / 7, 2)])
def test_starts_in_any_second_are_no_more_than_rate_and_burst(interval: float, burst: int) -> None:
    """An order is there each millisecond, and starts when it may."""
    reached, starts = 0.0, []
    for now in range(5000, 9000):
        while tokens(reached, now, interval, burst) > 0:
            reached = after_start(reached, now, interval)
            starts.append(now)
        assert next_start(reached, interval, burst) > now
    rate = 1000 / interval
    for first in starts[:: max(1, len(starts) // 200)]:
        assert sum(first <= each < first + 1000 for each in starts) <= rate + burst
    assert len(starts) == pytest.approx(4 * rate + burst, abs=1.01 + 1 / interval)


def test_tokens_gather_up_to_the_burst_and_no_further() -> None:
    assert tokens(0.0, 10_000.0, 100.0, 5) == 5
    assert tokens(10_250.0, 10_000.0, 100.0, 5) == 2
    assert next_start(10_500.0, 100.0, 5) == 10_100.0
    assert next_start(10_500.0, 100.0, 5, many=3) == 10_300.0


def test_starts_are_never_further_ahead_than_the_burst() -> None:
    """A slower rate was set before."""
    assert no_further(3_600_000.0, 1000.0, 100.0, 2) == 1200.0
    assert no_further(900.0, 1000.0, 100.0, 2) == 900.0


def test_limits_that_are_not_named_stay_as_they_are() -> None:
    was = Limits(rate=Rate(10, "s"), burst=4, in_flight=20)
    assert changed(was, {"in_flight": 5}) == Limits(rate=Rate(10, "s"), burst=4, in_flight=5)
    assert changed(was, {"rate": Rate(9, "s")}).largest_burst == 1
    assert changed(was, {"burst": None}).largest_burst == 2
    assert not changed(was, {"rate": None, "in_flight": None}).are_set


def test_limit_of_keys_is_one_at_once_unless_said_otherwise() -> None:
    assert changed(NO_LIMITS, {"per_key": "k"}).at_once == 1
    assert changed(NO_LIMITS, {"per_key": "k", "at_once": 3}).at_once == 3
    rate = changed(NO_LIMITS, {"per_key": "k", "key_rate": Rate(2, "s")})
    assert (rate.at_once, rate.key_rate) == (None, Rate(2, "s"))
    assert not changed(rate, {"per_key": None}).are_set


def test_limits_of_keys_have_another_generation_when_they_change() -> None:
    first = changed(NO_LIMITS, {"per_key": "k"})
    assert first.generation == 1
    assert changed(first, {"rate": Rate(10, "s")}).generation == 1
    assert changed(first, {"at_once": 2}).generation == 2
    assert changed(first, {"per_key": None}).generation == 2
    assert changed(first, {"per_key": "k"}).generation == 1


@pytest.mark.parametrize(
    ("was", "changes", "why"),
    [
        (NO_LIMITS, {"at_once": 2}, "give --per-key FIELD as well"),
        (NO_LIMITS, {"key_rate": Rate(1, "s")}, "give --per-key FIELD as well"),
        (NO_LIMITS, {"burst": 3}, "give --rate as well"),
        (NO_LIMITS, {"per_key": "k", "key_burst": 3}, "give --key-rate as well"),
        (NO_LIMITS, {"per_key": "k", "at_once": None}, "nothing limits a key then"),
        (
            Limits(per_key="k", at_once=1),
            {"per_key": None, "at_once": 2},
            "lifts all limits of keys",
        ),
    ],
)
def test_limits_that_make_no_sense_together_are_refused(
    was: Limits, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        changed(was, changes)


def test_limits_are_read_as_they_were_kept() -> None:
    limits = Limits(rate=Rate(10, "s"), burst=2, per_key="k", at_once=1, generation=3)
    assert read_limits(limits.kept()) == limits
    assert read_limits(None) == read_limits(b"rubbish") == read_limits(b"[]") == NO_LIMITS


@pytest.mark.parametrize("path", ["customer", "customer.id", "a b.ü"])
def test_path_is_names_with_dots(path: str) -> None:
    assert parse_path(path) == path


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "a\n", "x" * 129])
def test_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"such as customer\.id"):
        parse_path(path)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("c-1", "c-1"),
        (17, "17"),
        ("17", "17"),
        (17.0, "17"),
        (-0.0, "0"),
        (1.5, "1.5"),
        (2**60, "1.152921504606847e+18"),
        ("x" * 256, "x" * 256),
        ("x" * 257, None),
        ("ü" * 129, None),
        ("", None),
        ("a\nb", None),
        (None, None),
        (True, None),
        ([1], None),
        ({"id": 1}, None),
        (float("inf"), None),
        (10**400, None),
    ],
)
def test_key_is_a_short_text_or_a_number(value: object, key: str | None) -> None:
    assert key_of({"customer": {"id": value}}, "customer.id") == key


@pytest.mark.parametrize("body", [{}, {"customer": 1}, {"customer": [{"id": 1}]}, [], None])
def test_key_that_is_not_there_is_none(body: object) -> None:
    assert key_of(body, "customer.id") is None


def test_started_tells_how_many_in_the_last_unit() -> None:
    rate, kept = Rate(10, "s"), Started.read(b"5100.000 5000 8 4")
    assert kept.lately(rate, 5500.0) == 10
    assert kept.lately(rate, 6250.0) == 6
    assert kept.lately(rate, 9000.0) == 0
    assert Started.read(None) == Started.read(b"rubbish") == Started()
