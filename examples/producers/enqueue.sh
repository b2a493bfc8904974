#!/bin/sh
# apt install redis-tools && sh enqueue.sh
set -eu
redis-cli -u "${REDIS_URL:-redis://127.0.0.1:6379/0}" -x LPUSH orders <<ORDER
{"order_id": "A-1002",
 "items": [{"sku": "TEA-SENCHA", "quantity": 2}],
 "ship_to": "221B Baker Street, London",
 "enqueued_at": "$(date -u +%Y-%m-%dT%H:%M:%SZ)"}
ORDER
