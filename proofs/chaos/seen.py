"""What Redis says of orders: their statuses, and the dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from tests.support.orders import dead_letters
from tests.support.redis_server import Reachable


@dataclass
class Seen:
    """statuses: of each order its status, and under which name a worker had it last.

    dead: for the bytes of each dead letter the reasons.
    """

    statuses: dict[str, tuple[str, str]] = field(default_factory=dict)
    dead: dict[bytes, set[str]] = field(default_factory=dict)

    def add(self, later: Seen) -> None:
        """Take in what was seen later."""
        self.statuses |= later.statuses
        for raw, reasons in later.dead.items():
            self.dead.setdefault(raw, set()).update(reasons)

    def has_ended(self, order_id: str, raw: bytes) -> bool:
        """Whether nothing more is to become of the order."""
        return self.statuses.get(order_id, ("", ""))[0] == "fulfilled" or raw in self.dead


def look(server: Reachable, ids: Iterable[str]) -> Seen:
    """What it says of these, and of all dead letters."""
    seen = Seen(dict(_statuses(server, ids)))
    for letter in dead_letters(server):
        seen.dead.setdefault(letter.raw, set()).add(letter.reason)
    return seen


def _statuses(server: Reachable, ids: Iterable[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    rest = iter(ids)
    with server.client(decode_responses=True) as client:
        while some := list(islice(rest, 2000)):
            pipe = client.pipeline(transaction=False)
            for order_id in some:
                pipe.hmget(f"{{orders}}:order:{order_id}", "status", "worker")
            for order_id, (status, worker) in zip(some, pipe.execute(), strict=True):
                if status:
                    yield order_id, (status, worker or "")
