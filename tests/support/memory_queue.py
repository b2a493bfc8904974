"""The queue in memory: for unit tests, and held to the same conformance suite as Redis."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace

from msgspec import structs

from fulfillment_worker.core.exchange import (
    LARGE,
    MOST_BYTES,
    Begin,
    Claimed,
    Exchange,
    Holdings,
    Limited,
    LimitUse,
    Queue,
    QueueUnavailable,
    Released,
    Reply,
    Survey,
    Verdict,
    Wakeup,
)
from fulfillment_worker.core.limits import NO_LIMITS, Limits
from fulfillment_worker.core.outcome import (
    Dead,
    Fulfilled,
    Outcome,
    Postponed,
    Requeued,
    Retried,
    Scheduled,
    Withdrawal,
    Withdrawn,
)
from tests.support.memory_limits import FleetLimits

_FINAL = ("fulfilled", "cancelled")
_SETTLED = (*_FINAL, "held")
_MOST_EARLY = 8
"""Orders of one exchange that begin as they are claimed, if there are no more."""


@dataclass(frozen=True)
class Entry:
    """An order with what it has been through."""

    raw: bytes
    copy: int
    first_seen: int
    failures: int = 0
    orphanings: int = 0
    order_id: str = ""

    @property
    def size(self) -> int:
        """Bytes, as it is kept."""
        through = f"{self.copy} {self.failures} {self.orphanings} {self.first_seen}\n"
        return len(through) + len(self.raw)


@dataclass
class Store:
    """What the server would hold. `now` is its clock, in ms: set it, or call `pass_time`."""

    lease: int = 10_000
    max_orphanings: int = 3
    max_order_bytes: int = 1024 * 1024
    max_age: int = 0
    now: int = 1_700_000_000_000
    uptime: int = 0
    heard: tuple[int, int] | None = None
    public: deque[bytes] = field(default_factory=deque)
    retry: dict[int, tuple[int, Entry]] = field(default_factory=dict)
    scheduled: dict[int, tuple[int, Entry]] = field(default_factory=dict)
    suspects: deque[Entry] = field(default_factory=deque)
    suspect_groups: deque[int] = field(default_factory=deque)
    group_of: dict[str, int] = field(default_factory=dict)
    in_flight: dict[str, dict[int, Entry]] = field(default_factory=dict)
    leases: dict[str, int] = field(default_factory=dict)
    exchange_numbers: dict[str, int] = field(default_factory=dict)
    reaped: set[str] = field(default_factory=set)
    orders: dict[str, dict[str, object]] = field(default_factory=dict)
    dead: list[tuple[str, bytes]] = field(default_factory=list)
    held: dict[int, Entry] = field(default_factory=dict)
    cancelled: int = 0
    received: int = 0
    fulfilled: int = 0
    duplicates: int = 0
    paused: bool = False
    limits: Limits = NO_LIMITS
    # By key, "" for the fleet: the time that the starts have reached.
    reached: dict[str, float] = field(default_factory=dict)
    starts: list[int] = field(default_factory=list)
    parked: dict[int, tuple[str, Entry]] = field(default_factory=dict)
    away: bool = False
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    wakes: list[Callable[[], None]] = field(default_factory=list)

    def wish(self, order_id: str, wish: Withdrawal) -> None:
        """An operator holds or cancels an order, wherever it is."""
        order = self.orders.setdefault(order_id, {})
        if order.get("status") in _FINAL or order.get("wish") == Withdrawal.CANCELLED:
            return
        held = [copy for copy, entry in self.held.items() if entry.order_id == order_id]
        letters = [each for each in self.dead if self.id_of(each[1]) == order_id]
        if order.get("status") == "held":
            if wish is Withdrawal.CANCELLED:
                self.cancelled += len(held)
                order["status"] = "cancelled"
                for copy in held:
                    del self.held[copy]
        elif wish is Withdrawal.CANCELLED and order.get("status", "dead") == "dead" and letters:
            for each in letters:
                self.dead.remove(each)
            self.cancelled += len(letters)
            order["status"] = "cancelled"
        else:
            order["wish"] = wish

    def let_go(self, order_id: str) -> None:
        """An operator releases an order."""
        order = self.orders.get(order_id, {})
        order.pop("wish", None)
        if order.get("status") == "held":
            order["status"] = "retrying"
            for copy, entry in list(self.held.items()):
                if entry.order_id == order_id:
                    self.retry[copy] = (self.now, self.held.pop(copy))
            self.wake()
        if not order:
            self.orders.pop(order_id, None)

    def push(self, raw: bytes) -> None:
        """LPUSH: the left end is the newest."""
        self.public.appendleft(raw)
        self.arrived.set()

    def wake(self) -> None:
        """What is published: look, there may be something to do."""
        for each in self.wakes:
            each()

    def pass_time(self, ms: int) -> None:
        self.now += ms
        self.uptime += ms

    def step_clock(self, ms: int) -> None:
        """Set the clock, and no time passes by it."""
        self.now += ms

    def begun_by(self, worker: str, delivery: int) -> str:
        """The order that this very delivery has begun, "" for none."""
        begun = (worker, delivery)
        holders = {(o.get("worker"), o.get("delivery")): key for key, o in self.orders.items()}
        return holders.get(begun, "")

    def id_of(self, delivery_raw: bytes) -> str | None:
        """The order id as the reaper would read it."""
        try:
            body = json.loads(delivery_raw)
        except ValueError:
            return None
        return str(body["order_id"]) if isinstance(body, dict) and "order_id" in body else None


class MemoryQueue(Queue):
    """Queue (core/exchange.py) over a Store; several share one, as workers share a server."""

    def __init__(self, store: Store, name: str = "orders") -> None:
        self.name = name
        self.store = store
        self.exchanges: list[Exchange] = []
        self._standing: Exchange | None = None

    async def send(self, exchange: Exchange) -> Awaitable[Reply]:
        await asyncio.sleep(0)
        self._require_presence()
        self.exchanges.append(exchange)
        return self._reply(exchange)

    async def _reply(self, exchange: Exchange) -> Reply:
        return _Exchange(self.store, exchange).run()

    async def holdings(
        self, worker: str, number: int, known: Collection[int], delay_ms: int = 0
    ) -> Holdings:
        self._require_presence()
        store = self.store
        held = store.in_flight.get(worker, {})
        if worker in store.reaped:
            return Holdings(store.now, lease_lost=True)
        if store.exchange_numbers.get(worker, 0) >= number:
            return Holdings(store.now, stale=True)
        _Exchange(store, Exchange(worker=worker)).follow_clock()
        if held and store.leases.get(worker, store.now) < store.now:
            return Holdings(store.now, lease_lost=True)
        unknown, given_back = _part_by_size(held, known)
        for delivery in given_back:
            entry = held.pop(delivery)
            if begun := store.begun_by(worker, delivery):
                store.orders[begun]["status"] = "retrying"
            store.retry[entry.copy] = (
                store.now + delay_ms if delay_ms else entry.first_seen,
                entry,
            )
        if held:
            store.leases[worker] = store.now + store.lease
        else:
            store.leases.pop(worker, None)
        store.exchange_numbers[worker] = number
        return Holdings(
            store.now,
            number=number,
            deliveries=frozenset(held),
            unknown=[_claimed(store, delivery, held[delivery]) for delivery in unknown],
            given_back=len(given_back),
            first_claims=sum(
                not (entry.failures or entry.orphanings) for entry in given_back.values()
            ),
        )

    async def release(self, worker: str) -> Released:
        self._require_presence()
        released = Released(*_Exchange(self.store, Exchange(worker=worker)).reap_one(worker))
        if released.recovered > released.orphaned:
            self.store.wake()
        return released

    async def wait(self, seconds: float) -> Wakeup:
        self._require_presence()
        while not self.store.public:
            self.store.arrived.clear()
            await self.store.arrived.wait()
        return self.ring(self.store.public[-1])

    def ring(self, raw: bytes | None) -> Wakeup:
        """The end of a wait, and the exchange that stands by until then."""
        exchange, self._standing = self._standing, None
        came = raw is not None
        reply = _Exchange(self.store, exchange).stand_by() if exchange else None
        if exchange is None or reply is None:
            return Wakeup(came)
        self.exchanges.append(exchange)
        return Wakeup(came, exchange, reply)

    async def stand_by(self, exchange: Exchange) -> None:
        self._standing = exchange

    @property
    def stands_by(self) -> bool:
        """Whether an exchange stands by that would take place now."""
        exchange = self._standing
        return (
            exchange is not None
            and exchange.number == self.store.exchange_numbers.get(exchange.worker, 0) + 1
        )

    def on_wake(self, wake: Callable[[], None]) -> None:
        self.store.wakes.append(wake)

    async def close(self) -> None:
        pass

    def _require_presence(self) -> None:
        if self.store.away:
            raise QueueUnavailable("the store is away")


def _part_by_size(
    held: dict[int, Entry], known: Collection[int]
) -> tuple[list[int], dict[int, Entry]]:
    """What is not known: the small ones, that are sent, and those to be given back."""
    small, large, size = [], {}, 0
    for delivery in sorted(held.keys() - known):
        entry = held[delivery]
        if size + entry.size > LARGE:
            large[delivery] = entry
        else:
            size += entry.size
            small.append(delivery)
    return small, large


def _claimed(store: Store, delivery: int, entry: Entry) -> Claimed:
    return Claimed(
        delivery,
        entry.raw,
        entry.failures,
        entry.orphanings,
        entry.first_seen,
        _last_chance(store, entry),
        entry.order_id,
    )


def _last_chance(store: Store, entry: Entry) -> bool:
    return entry.orphanings >= max(1, min(2, store.max_orphanings - 1))


class _Exchange:
    def __init__(self, store: Store, exchange: Exchange) -> None:
        self.store = store
        self.exchange = exchange
        self.held = store.in_flight.setdefault(exchange.worker, {})
        # The bytes of those that were claimed for the first time.
        self.fresh: list[bytes] = []
        self.oversized: list[int] = []
        self.moved_bytes = 0
        self.suspect = exchange.suspects > 0
        self.received_before = store.received
        self.fleet = FleetLimits(store, self.held)

    def run(self) -> Reply:
        store, exchange = self.store, self.exchange
        if exchange.worker in store.reaped:
            return Reply(now=store.now, lease_lost=True)
        if store.exchange_numbers.get(exchange.worker, 0) != exchange.number - 1:
            return Reply(now=store.now, stale=True)
        self.follow_clock()
        if exchange.holding and store.leases.get(exchange.worker, store.now) < store.now:
            return Reply(now=store.now, lease_lost=True)
        if len(self.held) != exchange.holding:
            return Reply(now=store.now, stale=True)
        store.exchange_numbers[exchange.worker] = exchange.number
        obeyed = self.apply_all()
        verdicts = [self.begin(begin) for begin in exchange.begins]
        stops = self.stops()
        recovered, orphaned = self.reap()
        self.bring_back()
        self.fleet.call_parked()
        claimed = self.begin_early(self.claim()) if exchange.claim and not store.paused else []
        if self.held:
            store.leases[exchange.worker] = store.now + store.lease
        else:
            store.leases.pop(exchange.worker, None)
        if exchange.leaving:
            store.exchange_numbers.pop(exchange.worker, None)
        retry_due = self.is_due()
        backlog = retry_due or bool(store.public) or bool(store.suspects and not self.suspect)
        reached, look_at = self.fleet.hold_up() if backlog and not store.paused else (False, None)
        limited = Limited.YES if store.limits.are_set else Limited.NO
        return Reply(
            now=store.now,
            verdicts=verdicts,
            claimed=claimed,
            first_claims=store.received - self.received_before - len(self.oversized),
            oversized=self.oversized,
            recovered=recovered,
            orphaned=orphaned,
            backlog=backlog and not reached,
            paused=store.paused,
            limited=Limited.REACHED if reached else limited,
            next_due=self.next_due(look_at, reached=reached),
            survey=self.survey() if exchange.survey else None,
            stops=stops,
            obeyed=obeyed,
        )

    def is_due(self) -> bool:
        """Whether a retry is due now; where there is no room for it, others are woken."""
        store = self.store
        is_due = any(due <= store.now for due, _ in store.retry.values())
        if is_due and not self.exchange.claim and not store.paused:
            store.wake()
        return is_due

    def follow_clock(self) -> None:
        """A step of the clock moves the ends of leases, and when retries are due."""
        store = self.store
        heard, store.heard = store.heard, (store.now, store.uptime)
        step = (store.now - heard[0]) - (store.uptime - heard[1]) if heard else 0
        for worker, ends in store.leases.items():
            store.leases[worker] = min(ends + step, store.now + store.lease)
        for copy, (due, entry) in store.retry.items():
            store.retry[copy] = (due + step, entry)
        store.reached = {key: reached + step for key, reached in store.reached.items()}

    def stand_by(self) -> Reply | None:
        """None where nothing was done."""
        store, exchange = self.store, self.exchange
        number = store.exchange_numbers.get(exchange.worker, 0)
        if exchange.worker in store.reaped or number != exchange.number - 1:
            return None
        store.exchange_numbers[exchange.worker] = exchange.number
        limited = Limited.YES if store.limits.are_set else Limited.NO
        if store.paused or limited or not store.public or len(store.public[-1]) > LARGE:
            backlog = bool(store.public) and not store.paused
            return Reply(now=store.now, paused=store.paused, backlog=backlog, limited=limited)
        entry = self.take_first()
        self.fresh.append(entry.raw)
        claimed = self.begin_early(self.hold([entry]))
        store.leases[exchange.worker] = store.now + store.lease
        return Reply(now=store.now, claimed=claimed, first_claims=1, backlog=bool(store.public))

    def apply(self, outcome: Outcome) -> None:  # noqa: C901 - one flat case per outcome
        entry = self.held.pop(outcome.delivery)
        order_id = outcome.order_id or self.store.begun_by(self.exchange.worker, outcome.delivery)
        order = self.store.orders.get(order_id, {})
        match outcome:
            case Fulfilled(note=note):
                self.store.fulfilled += 1
                order["status"] = "fulfilled"
                if note:
                    order["note"] = note
                order.pop("wish", None)
            case Retried(attempt=attempt, delay_ms=delay):
                entry = replace(entry, failures=attempt, order_id=order_id)
                self.wait_until(self.store.now + delay, entry)
                order["status"] = "retrying"
            case Requeued() | Withdrawn():
                entry = replace(entry, order_id=order_id or entry.order_id)
                self.wait_until(entry.first_seen, entry)
                order["status"] = "retrying"
            case Postponed(delay_ms=delay, at_ms=at):
                entry = replace(entry, order_id=order_id)
                self.set_aside(self.store.now + delay if delay >= 0 else at, entry)
                order["status"] = "postponed"
            case Scheduled(at_ms=at):
                self.set_aside(at, entry)
                told = self.store.orders.setdefault(outcome.order_id, {})
                holder = (told.get("worker"), told.get("delivery"))
                held = self.store.in_flight.get(str(holder[0]), {})
                at_work = told.get("status") == "processing" and holder[1] in held
                if told.get("status") not in _SETTLED and not at_work:
                    told["status"] = "scheduled"
            case Dead(reason=reason):
                self.store.dead.append((str(reason), entry.raw))
                if order.get("status") not in _SETTLED:
                    order["status"] = "dead"

    def apply_all(self) -> dict[int, Withdrawal]:
        """What operators have made of some of them."""
        obeyed: dict[int, Withdrawal] = {}
        for outcome in self.exchange.outcomes:
            became = self.obey(outcome)
            if became:
                obeyed[outcome.delivery] = became
            else:
                self.apply(outcome)
        return obeyed

    def obey(self, outcome: Outcome) -> Withdrawal | None:
        """What an operator makes of a delivery that ended so, if anything."""
        order_id = outcome.order_id
        wish = self.store.orders.get(order_id, {}).get("wish")
        dead_anyway = isinstance(outcome, Dead) and wish is Withdrawal.HELD
        if wish is None or dead_anyway or isinstance(outcome, Fulfilled):
            return None
        entry = self.held[outcome.delivery]
        if isinstance(outcome, Retried | Dead):
            entry = replace(entry, failures=outcome.attempt)
        return self.withdraw(outcome.delivery, order_id, entry)

    def withdraw(self, delivery: int, order_id: str, entry: Entry) -> Withdrawal:
        order = self.store.orders[order_id]
        wish = order.pop("wish", Withdrawal.HELD)
        del self.held[delivery]
        if wish is Withdrawal.CANCELLED:
            self.store.cancelled += 1
            order["status"] = "cancelled"
            return Withdrawal.CANCELLED
        self.store.held[entry.copy] = replace(entry, order_id=order_id)
        order["status"] = "held"
        return Withdrawal.HELD

    def stops(self) -> dict[int, Withdrawal]:
        return {
            int(str(order["delivery"])): Withdrawal(str(order["wish"]))
            for order in self.store.orders.values()
            if order.get("status") == "processing"
            and "wish" in order
            and order.get("worker") == self.exchange.worker
            and order.get("delivery") in self.held
        }

    def set_aside(self, due: int, entry: Entry) -> None:
        if self.store.max_age:
            due = min(due, entry.first_seen + self.store.max_age)
        self.store.scheduled[entry.copy] = (max(due, self.store.now), entry)

    def bring_back(self) -> None:
        """Those whose time has come are as all others that are due."""
        store = self.store
        for copy, (due, entry) in sorted(store.scheduled.items(), key=lambda item: item[1][0]):
            if due <= store.now:
                del store.scheduled[copy]
                self.wait_until(due, entry)

    def wait_until(self, due: int, entry: Entry) -> None:
        self.store.retry[entry.copy] = (due, entry)

    def begin(self, begin: Begin) -> Verdict:
        store, entry = self.store, self.held[begin.delivery]
        order = store.orders.setdefault(begin.order_id, {})
        if order.get("status") in _FINAL:
            del self.held[begin.delivery]
            store.duplicates += 1
            return Verdict.DUPLICATE
        holder = (order.get("worker"), order.get("delivery"))
        mine = holder == (self.exchange.worker, begin.delivery)
        held = store.in_flight.get(str(holder[0]), {})
        if order.get("status") == "processing" and not mine and holder[1] in held:
            del self.held[begin.delivery]
            self.wait_until(store.now + 500, entry)
            return Verdict.BUSY
        if "wish" in order or order.get("status") == "held":
            became = self.withdraw(begin.delivery, begin.order_id, entry)
            return Verdict.CANCELLED if became is Withdrawal.CANCELLED else Verdict.HELD
        if self.fleet.is_refused(begin.delivery, entry, begin.order_id if mine else ""):
            if mine:
                order["status"] = "retrying"
            return Verdict.LIMITED
        self.note_begin(begin)
        return Verdict.GO

    def note_begin(self, begin: Begin) -> None:
        order = self.store.orders.setdefault(begin.order_id, {})
        order |= {"status": "processing", "attempt": begin.attempt}
        order |= {"worker": self.exchange.worker, "delivery": begin.delivery}

    def begin_early(self, claimed: list[Claimed]) -> list[Claimed]:
        """Those that were never claimed before, and can be read beyond doubt, begin at once."""
        if len(self.fresh) > _MOST_EARLY and not self.store.limits.rate:
            return claimed
        return [
            structs.replace(each, begun=self.begin_unread(each)) if each.raw in self.fresh else each
            for each in claimed
        ]

    def begin_unread(self, claimed: Claimed) -> str:
        delivery, raw = claimed.delivery, claimed.raw
        order_id = self.store.id_of(raw)
        plain = not set(raw) - set(range(32, 127)) and b"\\" not in raw and b"_at" not in raw
        if not order_id or not plain or order_id in self.store.orders:
            return ""
        if not self.fleet.may_start(self.held[delivery]):
            return ""
        self.note_begin(Begin(delivery, order_id, 1, 0))
        return order_id

    def reap(self) -> tuple[int, int]:
        store = self.store
        expired = [
            worker
            for worker, lease in sorted(store.leases.items(), key=lambda item: item[1])
            if lease < store.now and worker != self.exchange.worker
        ]
        return self.reap_one(expired[0]) if expired else (0, 0)

    def reap_one(self, worker: str) -> tuple[int, int]:
        store = self.store
        store.leases.pop(worker, None)
        orphans = store.in_flight.pop(worker, {})
        store.reaped.add(worker)
        for number, entry in orphans.items():
            orphans[number] = replace(entry, order_id=self.known_id(entry, worker, number))
        suspects = [entry for entry in orphans.values() if _last_chance(store, entry)]
        others = [entry for entry in orphans.values() if not _last_chance(store, entry)]
        dead = self.put_back_all(suspects, store.group_of.pop(worker, 1))
        dead += self.put_back_all(others, len(orphans))
        return len(orphans), dead

    def known_id(self, entry: Entry, worker: str, delivery: int) -> str:
        """The id under which the order is known: kept with it, or begun by this delivery."""
        return entry.order_id or self.store.begun_by(worker, delivery)

    def put_back_all(self, entries: list[Entry], together: int) -> int:
        known = len(self.store.suspects)
        dead = sum(self.put_back(entry, together <= 1) for entry in entries)
        left = len(self.store.suspects) - known
        while left > 0:
            self.store.suspect_groups.append(min(left, max(1, together // 16)))
            left -= self.store.suspect_groups[-1]
        return dead

    def put_back(self, entry: Entry, alone: bool) -> bool:
        store = self.store
        entry = replace(entry, orphanings=entry.orphanings + 1)
        order = store.orders.setdefault(entry.order_id or store.id_of(entry.raw) or "", {})
        if order.get("status") in _FINAL:
            store.duplicates += 1
            return False
        at_work = order.get("delivery") in store.in_flight.get(str(order.get("worker")), {})
        if at_work or order.get("status") == "held":
            order = {}  # It is another copy's.
        if alone and entry.orphanings >= store.max_orphanings:
            store.dead.append(("orphaned", entry.raw))
            order["status"] = "dead"
            return True
        if _last_chance(store, entry):
            store.suspects.append(entry)
        else:
            self.wait_until(entry.first_seen, entry)
        if order:
            order["status"] = "retrying"
        return False

    def claim(self) -> list[Claimed]:
        store, room = self.store, self.fleet.room(self.exchange.claim)
        share = (room + 1) // 2 if store.public else room
        if store.limits.are_set and store.public and room == 1:
            share = store.now % 2
        entries = self.take_due(share)
        if self.exchange.suspects == 0 and store.suspects and self.fits(len(entries), room):
            entries += self.take_suspects(room - len(entries))
        while store.public and self.fits(len(entries) + len(self.oversized), room):
            entry = self.count(self.take_first())
            if self.fleet.is_parked(entry):
                continue
            if len(entry.raw) > store.max_order_bytes:
                self.oversized.append(len(entry.raw))
                store.dead.append(("invalid", entry.raw))
            else:
                self.fresh.append(entry.raw)
                self.fleet.taken.append(entry)
                entries.append(entry)
        entries += self.take_due(room - len(entries) - len(self.oversized))
        while store.public and self.fleet.would_park(store.public[-1]):
            self.fleet.is_parked(self.take_first())
        return self.hold(entries)

    def take_suspects(self, room: int) -> list[Entry]:
        store = self.store
        size = store.suspect_groups.popleft()
        taken: list[Entry] = []
        while len(taken) < size and self.fits(len(taken), room):
            taken.append(self.count(store.suspects.popleft()))
        if size > len(taken):
            store.suspect_groups.appendleft(size - len(taken))
        store.group_of[self.exchange.worker] = len(taken)
        self.suspect = True
        return taken

    def fits(self, taken: int, room: int) -> bool:
        return taken < room and self.moved_bytes < min(self.exchange.most_bytes, MOST_BYTES)

    def count(self, entry: Entry) -> Entry:
        self.moved_bytes += len(entry.raw)
        return entry

    def take_first(self) -> Entry:
        self.store.received += 1
        return Entry(self.store.public.pop(), self.store.received, self.store.now)

    def hold(self, entries: list[Entry]) -> list[Claimed]:
        held = dict(enumerate(entries, self.exchange.first_delivery))
        self.held.update(held)
        self.fleet.taken.clear()
        return [_claimed(self.store, delivery, entry) for delivery, entry in held.items()]

    def take_due(self, room: int) -> list[Entry]:
        store = self.store
        due = sorted((due, copy) for copy, (due, _) in store.retry.items() if due <= store.now)
        taken: list[Entry] = []
        for _, copy in due:
            if not self.fits(len(taken), room):
                break
            entry = self.count(store.retry.pop(copy)[1])
            if _last_chance(store, entry):
                store.suspects.append(entry)
                store.suspect_groups.append(1)
            elif not self.fleet.is_parked(entry):
                self.fleet.taken.append(entry)
                taken.append(entry)
        return taken

    def next_due(self, look_at: int | None, *, reached: bool) -> int | None:
        times = [] if reached else [due for due, _ in self.store.retry.values()]
        times += [self.fleet.next_turn(key) for key, _ in self.store.parked.values()]
        times += [look_at] if look_at else []
        times += [due for due, _ in self.store.scheduled.values()]
        times += [
            t + 1 for worker, t in self.store.leases.items() if worker != self.exchange.worker
        ]
        return min(times, default=None)

    def survey(self) -> Survey:
        store = self.store
        for worker, held in store.in_flight.items():
            if held:
                store.leases.setdefault(worker, store.now + store.lease)
        return Survey(
            at=store.now,
            waiting=len(store.public),
            in_flight=sum(map(len, store.in_flight.values())),
            retrying=len(store.retry) + len(store.suspects) + len(store.parked),
            scheduled=len(store.scheduled),
            held=len(store.held),
            dead=len(store.dead),
            oldest=store.now,
            received=store.received,
            fulfilled=store.fulfilled,
            duplicates=store.duplicates,
            dropped=0,
            cancelled=store.cancelled,
            limits=store.limits,
            used=LimitUse(
                len(store.starts) if store.limits.rate else 0,
                sum(
                    bool(self.fleet.key(e))
                    for held in store.in_flight.values()
                    for e in held.values()
                ),
                len(store.parked),
            ),
        )
