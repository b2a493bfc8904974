"""The producer: places orders without a pause, and keeps book of what Redis acknowledged."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import AskError
from redis.retry import Retry

from proofs.chaos.sites import Site

PER_SECOND = 300
"""How many are placed, unless told otherwise."""
_BACKLOG = 400
"""Waiting orders beyond which the load itself pauses: a slow machine gets what it can handle."""
_QUEUE = "orders"


@dataclass(slots=True)
class Placed:
    """One order. tried, at: monotonic seconds of its first push, and of its answer.

    sure: acknowledged pushes. unsure: those whose answer never came. raw: rubbish's bytes.
    """

    order_id: str
    raw: bytes
    do: str
    tried: float = 0.0
    at: float = 0.0
    sure: int = 0
    unsure: int = 0


class Producer:
    """Pushes about `per_second` orders from a thread of its own, until it is told to stop.

    It pushes as many as the fleet can take, where that is less.

    placed: the orders that must be kept. settled: those that had ended when Redis was made to
    forget all. forgotten: those that had not.
    """

    def __init__(self, site: Site, rng: random.Random, per_second: int = PER_SECOND) -> None:
        self.placed: dict[str, Placed] = {}
        self.settled: dict[str, Placed] = {}
        self.forgotten: dict[str, Placed] = {}
        self._site = site
        self._client: redis.Redis | None = None
        self._rng = rng
        self._per_second = per_second
        self._numbers = itertools.count(1)
        self._waiting = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Place no more. Idempotent."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(20)
        self._hang_up()

    def place(self, do: str = "", many: int = 1, size: int = 0) -> list[str]:
        """Push so many orders that go wrong in this way; returns their ids. Any thread may.

        size: bytes that are added to each.
        """
        with self._lock:
            return [self._place(do, size) for _ in range(many)]

    def held(self) -> threading.Lock:
        """While entered, nothing is placed."""
        return self._lock

    def forget(self, has_ended: Callable[[str, bytes], bool]) -> None:
        """Redis has forgotten all that was placed so far. Only while held."""
        for order_id, placed in self.placed.items():
            ended = has_ended(order_id, placed.raw)
            (self.settled if ended else self.forgotten)[order_id] = placed
        self.placed.clear()

    def _run(self) -> None:
        began = time.monotonic()
        for number in itertools.count():
            due = began + number / self._per_second
            late = time.monotonic() - due
            if late > 1:
                began += late  # An outage is not made up for.
            if self._stopped.wait(max(0.0, -late)):
                return
            if self._waiting <= _BACKLOG:
                self._one()
            elif number % (self._per_second // 10) == 0:
                self._look()

    def _look(self) -> None:
        """How many wait now."""
        with self._lock:
            try:
                self._client = self._client or open_client(self._site)
                self._waiting = int(self._client.llen(_QUEUE))
            except redis.RedisError:
                self._hang_up()

    def _one(self) -> None:
        chance = self._rng.random()
        with self._lock:
            if chance < 0.003:
                self._place("rubbish bytes")
            elif chance < 0.03:
                self._place("fail_once")
            else:
                placed = self.placed[self._place("")]
                if chance > 0.95:
                    self._push(placed)

    def _place(self, do: str, size: int = 0) -> str:
        number = next(self._numbers)
        order_id = f"C-{number}"
        longest = 0.6 if self._rng.random() < 0.03 else 0.03
        takes = round(self._rng.uniform(0.002, longest), 4)
        body = {"order_id": order_id, "takes": takes, "do": do}
        if size:
            body["note"] = "x" * size
        raw = json.dumps(body).encode()
        if do == "rubbish bytes":
            raw = b"\xff\x00 no order, number %d" % number
        placed = self.placed[order_id] = Placed(order_id, raw, do)
        self._push(placed)
        return order_id

    def _push(self, placed: Placed) -> None:
        """Until it is acknowledged: as a careful shop does, which makes copies now and then."""
        placed.tried = placed.tried or time.monotonic()
        while not self._stopped.is_set():
            try:
                if self._try(placed.raw):
                    placed.sure += 1
                    placed.at = placed.at or time.monotonic()
                    return
                placed.unsure += 1
            except (redis.ConnectionError, redis.TimeoutError):
                placed.unsure += 1
                self._hang_up()
            except redis.ResponseError:
                self._hang_up()  # Refused: it is not there. Another server may take it.
            self._stopped.wait(0.02)

    def _try(self, raw: bytes) -> bool:
        """Whether it is there for certain."""
        self._client = client = self._client or open_client(self._site)
        try:
            self._waiting = int(client.lpush(_QUEUE, raw))
        except AskError as moving:
            with redis.Redis(port=moving.port, single_connection_client=True) as other:
                other.execute_command("ASKING")
                other.lpush(_QUEUE, raw)
                return self._is_safe(other)
        return self._is_safe(client)

    def _is_safe(self, client: redis.Redis) -> bool:
        """Whether so many replicas have what was pushed by this client."""
        if not self._site.safe:
            return True
        try:
            return client.wait(self._site.safe, 1000) >= self._site.safe
        except redis.ResponseError:
            return False  # It has just become a replica.

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def open_client(site: Site, **options: Any) -> redis.Redis:
    """A client that never sends a command twice by itself, over one connection."""
    once = Retry(NoBackoff(), 0)
    patience = {"socket_timeout": 4, "socket_connect_timeout": 4}
    return site.client(retry=once, single_connection_client=True, **patience, **options)
