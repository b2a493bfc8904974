"""Orders as a producer puts them on the list, and what Redis says of them afterwards.

Keys are spelt out here on purpose: what the contract promises is not to be read from the code.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from typing import Any, NamedTuple

from tests.support.eventually import PATIENCE, eventually
from tests.support.redis_server import Reachable, RedisServer

Body = dict[str, Any]


def bodies(many: int, prefix: str = "A") -> list[Body]:
    """`many` orders with nothing but an id: A-0, A-1…"""
    return [{"order_id": f"{prefix}-{number}"} for number in range(many)]


def place(server: Reachable, orders: Iterable[Body], queue: str = "orders") -> None:
    """LPUSH each of them, as any client would."""
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        for order in orders:
            pipe.lpush(queue, json.dumps(order))
        pipe.execute()


def place_by_hand(server: RedisServer, raws: Iterable[bytes], queue: str = "orders") -> None:
    """LPUSH over a bare socket: producers need no library."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        for raw in raws:
            parts = (b"LPUSH", queue.encode(), raw)
            told = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
            connection.sendall(b"*%d\r\n%s" % (len(parts), told))
            answer = connection.recv(64)
            assert answer.startswith(b":"), answer


def order_hash(server: Reachable, order_id: str, queue: str = "orders") -> dict[str, str]:
    """The hash that tells where an order is; empty where there is none."""
    with server.client(decode_responses=True) as client:
        found: dict[str, str] = client.hgetall(f"{{{queue}}}:order:{order_id}")
    return found


def statuses(server: Reachable, order_ids: Iterable[str], queue: str = "orders") -> list[str]:
    """The status of each order, "" where it has none."""
    with server.client(decode_responses=True) as client:
        pipe = client.pipeline(transaction=False)
        for order_id in order_ids:
            pipe.hget(f"{{{queue}}}:order:{order_id}", "status")
        return [status or "" for status in pipe.execute()]


def wait_until_all(
    server: Reachable,
    orders: Iterable[Body],
    status: str = "fulfilled",
    *,
    deadline: float = PATIENCE,
    queue: str = "orders",
) -> None:
    """Wait until every one of the orders has this status."""
    ids = [str(order["order_id"]) for order in orders]

    def all_are() -> bool:
        others = [
            (order_id, was)
            for order_id, was in zip(ids, statuses(server, ids, queue), strict=True)
            if was != status
        ]
        dead = [order_id for order_id, was in others if was == "dead"]
        if dead:  # as it stays: there is nothing to wait for
            why = order_hash(server, dead[0], queue).get("error")
            raise RuntimeError(f"{len(dead)} orders are dead; {dead[0]}: {why}")
        assert not others, f"{len(others)} are not, such as {others[:5]}"
        return True

    eventually(all_are, deadline=deadline, what=f"{len(ids)} orders {status}")


def events_of(server: Reachable, queue: str = "orders") -> dict[str, list[tuple[str, int]]]:
    """For each order the (status, attempt) of its entries in the events stream."""
    told: dict[str, list[tuple[str, int]]] = {}
    for entry in stream(server, queue):
        told.setdefault(entry["order_id"], []).append((entry["status"], int(entry["attempt"])))
    return told


def stream(server: Reachable, queue: str = "orders") -> list[dict[str, str]]:
    """The entries of the events stream."""
    with server.client(decode_responses=True) as client:
        return [entry for _, entry in client.xrange(f"{{{queue}}}:events")]


class DeadLetter(NamedTuple):
    """header: what is known of it. raw: the producer's bytes."""

    header: dict[str, Any]
    raw: bytes

    @property
    def reason(self) -> str:
        return str(self.header["reason"])


def dead_letters(server: Reachable, queue: str = "orders") -> list[DeadLetter]:
    """All dead letters, in the order in which they were buried."""
    with server.client() as client:
        letters = client.hgetall(f"{{{queue}}}:dead")
    found = []
    for _, letter in sorted((int(number), letter) for number, letter in letters.items()):
        header, _, raw = letter.partition(b"\n")
        found.append(DeadLetter(json.loads(header), raw))
    return found


def in_flight(server: Reachable, queue: str = "orders") -> dict[str, list[bytes]]:
    """The bytes of the orders that each worker holds now."""
    prefix = f"{{{queue}}}:in_flight:".encode()
    with server.client() as client:
        return {
            key.removeprefix(prefix).decode(): [
                entry.split(b"\n", 1)[1] for entry in client.hvals(key)
            ]
            for key in client.scan_iter(match=prefix + b"*", count=1000)
        }


class Books(NamedTuple):
    """Where all orders of a queue are (invariant 5)."""

    waiting: int
    in_flight: int
    retrying: int
    scheduled: int
    dead: int
    received: int
    fulfilled: int
    duplicates: int
    held: int = 0
    cancelled: int = 0

    @property
    def unaccounted(self) -> int:
        placed = self.in_flight + self.retrying + self.scheduled + self.held
        ended = self.dead + self.fulfilled + self.cancelled + self.duplicates
        return self.received - placed - ended


def books(server: Reachable, queue: str = "orders") -> Books:
    """Counted from the places themselves; read while nothing moves."""
    with server.client(decode_responses=True) as client:
        counts = client.hgetall(f"{{{queue}}}:books")
        waiting = int(client.llen(queue)) + int(client.llen(f"{{{queue}}}:woken"))
        retrying = int(client.zcard(f"{{{queue}}}:retry"))
        retrying += int(client.llen(f"{{{queue}}}:suspects"))
        retrying += int(client.hlen(f"{{{queue}}}:parked"))
        scheduled = int(client.zcard(f"{{{queue}}}:scheduled"))
        dead = int(client.hlen(f"{{{queue}}}:dead"))
        held = int(client.hlen(f"{{{queue}}}:held"))
    return Books(
        waiting=waiting,
        in_flight=sum(len(held) for held in in_flight(server, queue).values()),
        retrying=retrying,
        scheduled=scheduled,
        dead=dead,
        received=int(counts.get("received", 0)),
        fulfilled=int(counts.get("fulfilled", 0)),
        duplicates=int(counts.get("duplicates", 0)),
        held=held,
        cancelled=int(counts.get("cancelled", 0)),
    )
