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
from redis.retry import Retry

from tests.support.redis_server import RedisServer

PER_SECOND = 300
_QUEUE = "orders"


@dataclass(slots=True)
class Placed:
    """What is known of one order. at: monotonic seconds of the first acknowledgement.

    sure: acknowledged pushes. unsure: those whose answer never came. raw: rubbish's bytes.
    """

    order_id: str
    raw: bytes
    do: str
    at: float = 0.0
    sure: int = 0
    unsure: int = 0


class Producer:
    """Pushes about PER_SECOND orders from a thread of its own, until it is told to stop.

    placed: the orders that must be kept. settled: those that had ended when Redis was made to
    forget all. forgotten: those that had not.
    """

    def __init__(self, server: RedisServer, rng: random.Random) -> None:
        self.placed: dict[str, Placed] = {}
        self.settled: dict[str, Placed] = {}
        self.forgotten: dict[str, Placed] = {}
        self._client = open_client(server)
        self._rng = rng
        self._numbers = itertools.count(1)
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
        self._client.close()

    def place(self, do: str = "", many: int = 1) -> list[str]:
        """Push so many orders that go wrong in this way; returns their ids. Any thread may."""
        with self._lock:
            return [self._place(do) for _ in range(many)]

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
            due = began + number / PER_SECOND
            late = time.monotonic() - due
            if late > 1:
                began += late  # An outage is not made up for.
            if self._stopped.wait(max(0.0, -late)):
                return
            self._one()

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

    def _place(self, do: str) -> str:
        number = next(self._numbers)
        order_id = f"C-{number}"
        longest = 0.6 if self._rng.random() < 0.03 else 0.03
        takes = round(self._rng.uniform(0.002, longest), 4)
        body = {"order_id": order_id, "takes": takes, "do": do}
        raw = json.dumps(body).encode()
        if do == "rubbish bytes":
            raw = b"\xff\x00 no order, number %d" % number
        placed = self.placed[order_id] = Placed(order_id, raw, do)
        self._push(placed)
        return order_id

    def _push(self, placed: Placed) -> None:
        """Until it is acknowledged: as a careful shop does, which makes copies now and then."""
        while not self._stopped.is_set():
            try:
                self._client.lpush(_QUEUE, placed.raw)
            except (redis.ConnectionError, redis.TimeoutError):
                placed.unsure += 1
            except redis.ResponseError:
                pass  # Refused: it is not there.
            else:
                placed.sure += 1
                placed.at = placed.at or time.monotonic()
                return
            self._stopped.wait(0.02)


def open_client(server: RedisServer, **options: Any) -> redis.Redis:
    """A client that never sends a command twice by itself."""
    once = Retry(NoBackoff(), 0)
    return server.client(retry=once, socket_timeout=4, socket_connect_timeout=4, **options)
