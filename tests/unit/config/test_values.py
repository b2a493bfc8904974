"""Durations, sizes, names and the rest: what is taken, and what is refused with advice."""

from __future__ import annotations

from typing import Any

import pytest

from fulfillment_worker.config.values import (
    Choice,
    Duration,
    Field,
    HandlerName,
    Host,
    HostNames,
    Names,
    Number,
    Parser,
    Rights,
    Size,
    Whole,
    handlers_by_queue,
)

DURATION = Duration("1ms", "30d")
SIZE = Size("16", "512MiB")
WHOLE = Whole(1, 100)
NUMBER = Number(0.5, 1000)


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (DURATION, "0.5", 0.5),
        (DURATION, ".5", 0.5),
        (DURATION, "60", 60.0),
        (DURATION, "250ms", 0.25),
        (DURATION, "10s", 10.0),
        (DURATION, "5m", 300.0),
        (DURATION, "1.5h", 5400.0),
        (DURATION, "7d", 604800.0),
        (DURATION, "7 d", 604800.0),
        (SIZE, "1024", 1024),
        (SIZE, "64B", 64),
        (SIZE, "64KiB", 65536),
        (SIZE, "1MiB", 1048576),
        (WHOLE, "1", 1),
        (WHOLE, "100", 100),
        (NUMBER, "0.5", 0.5),
        (Choice(("info", "error")), "INFO", "info"),
        (Names(), "orders", ("orders",)),
        (Names(), "express, orders", ("express", "orders")),
        (Names(), "q" * 128, ("q" * 128,)),
        (Names(), "Bestellungen für:heute", ("Bestellungen für:heute",)),
        (Field(), "id", "id"),
        (Host(), "*", ""),
        (Host(), "127.0.0.1", "127.0.0.1"),
        (Host(), "::1", "::1"),
        (Host(), "[::1]", "::1"),
        (Host(), "metrics.internal", "metrics.internal"),
        (HostNames(), "Console.shop.example, c-2", ("console.shop.example", "c-2")),
        (Rights(("retry", "drop")), "drop, RETRY", frozenset({"retry", "drop"})),
        (Rights(("retry", "drop")), "all", frozenset({"retry", "drop"})),
        (HandlerName(), "shop.orders:fulfil", "shop.orders:fulfil"),
        (HandlerName(), "shop:Shop.fulfil", "shop:Shop.fulfil"),
        (
            HandlerName(),
            "orders=shop:fulfil,returns=shop:refund",
            "orders=shop:fulfil,returns=shop:refund",
        ),
        (
            HandlerName(),
            "https://shop.example:8443/fulfil?x=1",
            "https://shop.example:8443/fulfil?x=1",
        ),
    ],
)
def test_takes(parse: Parser[Any], text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        *((DURATION, text) for text in ("", "x", "-1", "0", "31d", "10x", "1e3", "inf", "nan")),
        *((DURATION, text) for text in ("10S", "1s1s", "٣", "9" * 5000)),
        *((SIZE, text) for text in ("15", "1GiB", "1MB", "64k", "1.5MiB", "-1", "9" * 5000)),
        *((WHOLE, text) for text in ("0", "101", "1.0", "+1", "1_0", "x", "", "9" * 5000)),
        *((NUMBER, text) for text in ("0.4", "1001", "inf", "-1", "")),
        *((Names(), text) for text in ("", ",", "a,,b", "a,a", "a{b}", "}", "a\x00b", "q" * 129)),
        *((Field(), text) for text in ("", "a\nb", "enqueued_at", "traceparent", "f" * 129)),
        *((Host(), text) for text in ("", "a b", "http://x", "x:80", "a..b", "a" * 64)),
        *(
            (HandlerName(), text)
            for text in ("", "shop", "shop:", "shop/orders.py:fulfil", "a b:c", "orders=shop")
        ),
        *(
            (HandlerName(), text)
            for text in ("http://", "https:/x", "http://x:99999", "http://x/a b")
        ),
        *((HandlerName(), text) for text in ("http://[::1", "ftp://x/y", "http://a..b/x")),
    ],
)
def test_refuses_with_advice(parse: Parser[Any], text: str) -> None:
    with pytest.raises(ValueError, match=r"^give "):
        parse(text)


@pytest.mark.parametrize(
    ("text", "handlers"),
    [
        ("shop:fulfil", {}),
        ("https://shop.example/a?b=c,d=shop:e", {}),
        ("a=shop:fulfil", {"a": "shop:fulfil"}),
        ("a=shop:fulfil, b = shop.x:y.z", {"a": "shop:fulfil", "b": "shop.x:y.z"}),
        ("shop:a=shop:fulfil,b:c=m:n", {"shop:a": "shop:fulfil", "b:c": "m:n"}),
        (
            "a=https://shop/x?y=1,2,b=http://shop/z,c=m:n",
            {"a": "https://shop/x?y=1,2", "b": "http://shop/z", "c": "m:n"},
        ),
    ],
)
def test_handlers_by_queue(text: str, handlers: dict[str, str]) -> None:
    assert handlers_by_queue(text) == handlers


def test_handlers_of_one_queue_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="give each queue one handler"):
        HandlerName()("a=shop:x,a=shop:y")


def test_a_queue_name_cannot_be_an_internal_key() -> None:
    with pytest.raises(ValueError, match="without braces"):
        Names()("{orders}:retry")
