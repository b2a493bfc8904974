"""pip install redis && python enqueue.py"""

import json
import os
from datetime import UTC, datetime

import redis

order = {
    "order_id": "A-1001",
    "items": [{"sku": "TEA-SENCHA", "quantity": 2}],
    "ship_to": "221B Baker Street, London",
    "enqueued_at": datetime.now(UTC).isoformat(),
}
client = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))
client.lpush("orders", json.dumps(order))
