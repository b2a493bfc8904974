"""How spans name the Redis that orders come from."""

from __future__ import annotations

import pytest

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.runtime.traces import server_attributes


@pytest.mark.parametrize(
    ("url", "attributes"),
    [
        ("redis://redis.test:6380/2", {"server.address": "redis.test", "server.port": 6380}),
        ("rediss://u:hunter2@redis.test", {"server.address": "redis.test", "server.port": 6379}),
        ("unix://:hunter2@/run/redis.sock?db=1", {"server.address": "/run/redis.sock"}),
        ("redis+sentinel://a:1,b:2/shop/0", {}),
        ("redis+cluster://a:1", {}),
        ("embedded:/var/lib/orders", {}),
    ],
)
def test_one_server_is_named_and_no_secret(url: str, attributes: dict[str, object]) -> None:
    assert server_attributes(RedisUrl.parse(url)) == attributes
