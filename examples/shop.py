"""A worked handler: reserve the stock, then book a carrier.

    fulfillment-worker run --handler shop:fulfil

The dictionaries stand in for your database and your carrier's API. A worker can die between any
two lines, and then the order runs again: so every step carries the order's idempotency key, and a
step that was done before does nothing.
"""

import asyncio
from collections import Counter

from fulfillment_worker import Order, Postpone, Reject, Retry

stock = Counter({"TEA-EARL-GREY": 1000, "TEA-SENCHA": 1000, "MUG-BLUE": 500})
reserved: dict[str, Counter[str]] = {}
parcels: dict[str, str] = {}


async def fulfil(order: Order) -> None:
    """Order bodies: {"order_id": …, "items": [{"sku": …, "quantity": …}], "ship_to": …}."""
    if not order.body.get("items") or not order.body.get("ship_to"):
        raise Reject("items or ship_to is missing")
    wanted: Counter[str] = Counter()
    for item in order.body["items"]:
        wanted[item["sku"]] += item["quantity"]
    await reserve(order.idempotency_key, wanted)
    try:
        await book_parcel(order.idempotency_key, order.body["ship_to"])
    except ConnectionError as error:
        raise Retry("the carrier can't be reached", after=30) from error


async def reserve(key: str, wanted: Counter[str]) -> None:
    """Take the items out of stock, all or none: in a database, one transaction."""
    if key in reserved:
        return
    if unknown := wanted.keys() - stock.keys():
        raise Reject(f"no such SKU: {', '.join(sorted(unknown))}")
    if not wanted <= stock:
        raise Postpone("out of stock", after=3600)
    stock.subtract(wanted)
    reserved[key] = wanted


async def book_parcel(key: str, address: str) -> None:
    """Carriers take the key as a header of the request, mostly named Idempotency-Key."""
    await asyncio.sleep(0.02)
    parcels.setdefault(key, address)
