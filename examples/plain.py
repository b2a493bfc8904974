"""The smallest handler: a plain function, which runs in a thread and so may block.

fulfillment-worker run --handler plain:fulfil
"""

import sqlite3
from contextlib import closing

from fulfillment_worker import Order


def fulfil(order: Order) -> None:
    """Returning means fulfilled; an exception means another attempt later."""
    with closing(sqlite3.connect("shop.db")) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS shipped (key TEXT PRIMARY KEY, address TEXT)")
        # OR IGNORE: the order may have been here before, if a worker died right after this.
        database.execute(
            "INSERT OR IGNORE INTO shipped VALUES (?, ?)",
            (order.idempotency_key, order.body.get("ship_to")),
        )
