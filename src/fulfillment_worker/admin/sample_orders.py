"""Orders as a small shop might get them, to try things out with."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count, islice
from typing import Any

import msgspec

# What examples/shop.py has in stock.
_GOODS = (
    ("MUG-BLUE", "Stoneware mug, blue", 1450),
    ("TEA-EARL-GREY", "Earl Grey tea, 250 g", 890),
    ("TEA-SENCHA", "Sencha tea, 100 g", 1275),
)
_BUYERS = ("Ada Okafor", "Jonas Lindqvist", "Mei Tanaka", "Søren Dahl", "Lucía Vega", "Tom Byrne")
_TOWNS = (("Utrecht", "NL"), ("Porto", "PT"), ("Leeds", "GB"), ("Graz", "AT"), ("Lyon", "FR"))


def samples(seed: int, id_field: str) -> Iterator[dict[str, Any]]:
    """Orders without end, each made when it is asked for, since it says when it was enqueued.

    The same seed gives the same orders but for `enqueued_at`.
    """
    draw = random.Random(seed)
    run = draw.randrange(16**6)
    for number in count(1):
        yield {id_field: f"S-{run:06x}-{number:06}", **_order(draw)}


def sample_orders(count: int, seed: int, id_field: str) -> Iterator[bytes]:
    """`count` orders as JSON; the same seed gives the same orders but for `enqueued_at`."""
    return map(msgspec.json.encode, islice(samples(seed, id_field), count))


def _order(draw: random.Random) -> dict[str, Any]:
    name = draw.choice(_BUYERS)
    town, country = draw.choice(_TOWNS)
    items = [_item(draw, *goods) for goods in draw.sample(_GOODS, draw.randint(1, 3))]
    return {
        "enqueued_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "customer": {"name": name, "email": f"{name.split()[0].lower()}@example.com"},
        "ship_to": {"city": town, "country": country},
        "items": items,
        "total_cents": sum(item["quantity"] * item["unit_price_cents"] for item in items),
        "currency": "EUR",
    }


def _item(draw: random.Random, sku: str, name: str, price: int) -> dict[str, Any]:
    return {"sku": sku, "name": name, "quantity": draw.randint(1, 4), "unit_price_cents": price}
