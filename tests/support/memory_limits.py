"""The limits of the fleet in the queue in memory: by the rules of core/limits.py."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from fulfillment_worker.core.limits import (
    UNITS,
    Rate,
    after_start,
    key_of,
    next_start,
    no_further,
    tokens,
)

if TYPE_CHECKING:
    from tests.support.memory_queue import Entry, Store


class FleetLimits:
    """What may start, and what waits. taken: entries that are about to be in flight."""

    def __init__(self, store: Store, held: dict[int, Entry]) -> None:
        self.store = store
        self.held = held
        for key, reached in store.reached.items():
            rate, burst = self._rate(key)
            if rate:
                store.reached[key] = no_further(reached, store.now, rate.interval, burst)
        self.taken: list[Entry] = []

    def key(self, entry: Entry) -> str:
        """The order's key; "" for none."""
        return self._key_in(entry.raw)

    def _key_in(self, raw: bytes) -> str:
        path = self.store.limits.per_key
        try:
            return (key_of(json.loads(raw), path) or "") if path else ""
        except ValueError:
            return ""

    def holders(self, key: str) -> int:
        flights = [*self.store.in_flight.values(), dict(enumerate(self.taken))]
        return sum(self.key(entry) == key for flight in flights for entry in flight.values())

    def count_held(self) -> int:
        return sum(map(len, self.store.in_flight.values()))

    def tokens(self, key: str = "") -> int:
        """How many may start; of a key, or of the fleet."""
        rate, burst = self._rate(key)
        if rate is None:
            return 2**30
        return tokens(self.store.reached.get(key, 0), self.store.now, rate.interval, burst)

    def next_turn(self, key: str = "", many: int = 1) -> int:
        """When it may start so many."""
        rate, burst = self._rate(key)
        if rate is None:
            return self.store.now
        reached = self.store.reached.get(key, 0)
        return math.ceil(next_start(reached, rate.interval, burst, many))

    def _rate(self, key: str) -> tuple[Rate | None, int]:
        limits = self.store.limits
        return (
            (limits.key_rate, limits.largest_key_burst)
            if key
            else (limits.rate, limits.largest_burst)
        )

    def may_start(self, entry: Entry) -> bool:
        """Count a start, where the rates allow it."""
        store, key = self.store, self.key(entry)
        if self.tokens() < 1 or (key and self.tokens(key) < 1):
            return False
        for each in {"", key}:
            rate, _ = self._rate(each)
            if rate:
                reached = store.reached.get(each, 0)
                store.reached[each] = after_start(reached, store.now, rate.interval)
        if rate := store.limits.rate:
            store.starts = [at for at in store.starts if at > store.now - UNITS[rate.per]]
            store.starts.append(store.now)
        return True

    def is_refused(self, delivery: int, entry: Entry, order_id: str) -> bool:
        """Whether an order that asks to start may not: it waits elsewhere then."""
        store, key = self.store, self.key(entry)
        limits = store.limits
        if not limits.are_set:
            return False
        too_many = limits.at_once is not None and self.holders(key) > limits.at_once
        kept = replace(entry, order_id=order_id) if order_id else entry
        if limits.in_flight is not None and self.count_held() > limits.in_flight:
            store.retry[entry.copy] = (entry.first_seen, kept)
        elif key and (too_many or self.tokens(key) < 1):
            store.parked[entry.copy] = (key, kept)
        elif self.tokens() < 1:
            store.retry[entry.copy] = (self.next_turn(), kept)
        else:
            return not self.may_start(entry)
        del self.held[delivery]
        return True

    def room(self, wanted: int) -> int:
        """How many of so many may be claimed."""
        limits = self.store.limits
        most = wanted if limits.in_flight is None else limits.in_flight - self.count_held()
        return max(0, min(wanted, most, self.tokens()))

    def hold_up(self) -> tuple[bool, int | None]:
        """Whether nothing may be claimed, and when to look again."""
        limits = self.store.limits
        if limits.in_flight is not None and self.count_held() >= limits.in_flight:
            return True, None
        if self.tokens() > 0:
            return False, None
        return True, self.next_turn("", max(1, limits.largest_burst // 4))

    def would_park(self, raw: bytes) -> bool:
        """Whether an order on the list must wait for its key."""
        limits, key = self.store.limits, self._key_in(raw)
        full = limits.at_once is not None and self.holders(key) >= limits.at_once
        return bool(key) and (full or self.tokens(key) < 1)

    def is_parked(self, entry: Entry) -> bool:
        """Whether an entry must wait for its key, and is parked."""
        if not self.would_park(entry.raw):
            return False
        self.store.parked[entry.copy] = (self.key(entry), entry)
        return True

    def call_parked(self) -> None:
        """What waited for its key, and need not any more, is due."""
        store, called = self.store, set()
        for copy, (key, entry) in sorted(store.parked.items()):
            limits = store.limits
            full = limits.at_once is not None and self.holders(key) >= limits.at_once
            is_former = self.key(entry) != key
            if not is_former and (key in called or full or self.tokens(key) < 1):
                continue
            called.add(key)
            del store.parked[copy]
            store.retry[copy] = (store.now, entry)
