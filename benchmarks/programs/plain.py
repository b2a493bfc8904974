"""Orders for who takes them off a list: LPUSH."""

from __future__ import annotations

import json
import os
from typing import Any

import redis

_client = redis.Redis(port=int(os.environ["BENCH_REDIS_PORT"]))


def enqueue(orders: list[dict[str, Any]]) -> None:
    """As any producer would."""
    _client.lpush("orders", *[json.dumps(order, separators=(",", ":")) for order in orders])
