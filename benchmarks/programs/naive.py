"""The loop that people write first. Orders are lost when it is killed."""

from __future__ import annotations

import json
import os

import redis
from work import work


def main() -> None:
    """Until it is ended."""
    client = redis.Redis(port=int(os.environ["BENCH_REDIS_PORT"]))
    while True:
        _, raw = client.brpop(["orders"])  # type: ignore[misc]
        fulfil(json.loads(raw))


def fulfil(order: object) -> None:
    """What the order takes."""
    work()


main()
