"""The name of every Redis key. The braces put all keys of a queue in one Cluster slot.

Hash tags work since `orders` and `{orders}:x` hash the same text, `orders`.
What each key holds: docs/internals.md.
"""

from __future__ import annotations


def public(queue: str) -> str:
    """List: the producers' bytes, and nothing else. Producers LPUSH; workers take the right end."""
    return queue


def order(queue: str, order_id: str) -> str:
    """Hash: where one order is; contract fields, `delivery` and `history`."""
    return f"{order_prefix(queue)}{order_id}"


def order_prefix(queue: str) -> str:
    """What the keys of all order hashes start with."""
    return f"{{{queue}}}:order:"


def events(queue: str) -> str:
    """Stream: one entry per change of status, kept for as long as `--events-ttl` says."""
    return f"{{{queue}}}:events"


def woken(queue: str) -> str:
    """List: orders at the head of the queue, moved here to wake one idle worker; still waiting."""
    return f"{{{queue}}}:woken"


def retry(queue: str) -> str:
    """Sorted set: entries that wait for their time, by Redis ms at which they are due."""
    return f"{{{queue}}}:retry"


def scheduled(queue: str) -> str:
    """Sorted set: copies of orders that wait for a time by wish, by the Redis ms of that time."""
    return f"{{{queue}}}:scheduled"


def set_aside(queue: str) -> str:
    """Hash: copy -> entry, of the orders in `scheduled`."""
    return f"{{{queue}}}:set_aside"


def held(queue: str) -> str:
    """Hash: copy -> entry, of held orders, whose status hashes name their copies."""
    return f"{{{queue}}}:held"


def parked(queue: str) -> str:
    """Hash: copy -> entry, of orders that wait for their key (queue/lua/limits.lua)."""
    return f"{{{queue}}}:parked"


def parked_keys(queue: str) -> str:
    """Sorted set, all of one score: generation, key and copy of each order in `parked`."""
    return f"{{{queue}}}:parked_keys"


def key_holders(queue: str) -> str:
    """Sorted set, all of one score: key, worker and delivery, of orders in flight that have one."""
    return f"{{{queue}}}:key_holders"


def held_keys(queue: str) -> str:
    """Hash: worker and delivery -> key, of the same orders."""
    return f"{{{queue}}}:held_keys"


def key_rates(queue: str) -> str:
    """Sorted set: keys, by the ms that their starts have reached, while that is to come."""
    return f"{{{queue}}}:key_rates"


def key_turns(queue: str) -> str:
    """Sorted set: keys whose orders wait for their rate, by the ms at which the next may start."""
    return f"{{{queue}}}:key_turns"


def suspects(queue: str) -> str:
    """List: orphans on their last chance, handed to each worker one group at a time."""
    return f"{{{queue}}}:suspects"


def in_flight_prefix(queue: str) -> str:
    """What the keys of all workers' in-flight hashes start with."""
    return f"{{{queue}}}:in_flight:"


def in_flight(queue: str, worker: str) -> str:
    """Hash: delivery -> entry, for each order that the worker holds."""
    return f"{in_flight_prefix(queue)}{worker}"


def leases(queue: str) -> str:
    """Sorted set: workers that hold orders, by Redis ms at which their lease runs out."""
    return f"{{{queue}}}:leases"


def workers(queue: str) -> str:
    """Sorted set: all workers, by Redis ms at which they were last heard."""
    return f"{{{queue}}}:workers"


def dead(queue: str) -> str:
    """Hash: number -> dead letter (a JSON header, a line feed, the exact bytes)."""
    return f"{{{queue}}}:dead"


def books(queue: str) -> str:
    """Hash: counters (received, fulfilled, duplicates, dropped, buried), the `paused` flag,
    `life` (the replication id of the server when a worker last connected), `id_fields`,
    `clock`, `steps`, `retry_steps` and `looked` (queue/lua/clock.lua, docs/internals.md), and
    for workers `trips:<worker>` (how many it has made) and `breaker:<worker>`.
    """
    return f"{{{queue}}}:books"


def audit(queue: str) -> str:
    """Stream: one entry per act of an operator, capped."""
    return f"{{{queue}}}:audit"


def edited(queue: str, order_id: str) -> str:
    """Hash: entry of the audit -> the bytes that a dead letter of the order had before it."""
    return f"{edited_prefix(queue)}{order_id}"


def edited_prefix(queue: str) -> str:
    """What the keys of the old bytes of all orders start with."""
    return f"{{{queue}}}:edited:"


def courses(queue: str) -> str:
    """Hash: paced retry of dead letters -> where it stands, as JSON (admin/rules/pacing.py)."""
    return f"{{{queue}}}:courses"


def wake(queue: str) -> str:
    """Channel, and no key: a message without content says that idle workers should look."""
    return f"{{{queue}}}:wake"


def scratch(queue: str) -> str:
    """Any type, never there for longer than one call: to try out what the user may do."""
    return f"{{{queue}}}:scratch"


def ids(queue: str) -> str:
    """Hash: copy -> order id, of entries whose id is known from an attempt that began."""
    return f"{{{queue}}}:ids"


def arrivals(queue: str) -> str:
    """Sorted set: Redis ms -> how many orders had ever arrived by then (first-seen watermarks)."""
    return f"{{{queue}}}:arrivals"
