"""Drives a real queue with anything that may happen, in any order, against a tiny model.

After every step the whole of Redis is read and held against what must be true: the numbers are
the invariants of docs/internals.md. Time is made to pass by moving the stored times, since the
server's clock can't be set.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fulfillment_worker.admin.operator import Operator
from fulfillment_worker.admin.redis_client import open_client
from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.exchange import (
    Begin,
    Claimed,
    Exchange,
    QueueUnavailable,
    Reply,
    Survey,
    Verdict,
)
from fulfillment_worker.core.outcome import (
    Dead,
    DeadReason,
    Fulfilled,
    Outcome,
    Postponed,
    Requeued,
    Retried,
    Scheduled,
    Withdrawal,
    Withdrawn,
)
from fulfillment_worker.queue import keys
from fulfillment_worker.queue.redis_queue import QueuePolicy, RedisQueue

T = TypeVar("T")

MAX_ORPHANINGS = 3
WORKERS = ("w0", "w1", "w2")
IDS = ("A", "B", "C")
HOUR_MS = 3_600_000
_POLICY = QueuePolicy(
    lease=HOUR_MS, status_ttl=HOUR_MS, max_orphanings=MAX_ORPHANINGS, id_field="order_id"
)


@dataclass
class Held:
    """A delivery as the worker that was given it sees it."""

    claimed: Claimed
    order_id: str
    begun: bool = False


@dataclass
class Hand:
    """A worker. A zombie is one whose lease ran out and that has not noticed."""

    name: str
    incarnation: int = 0
    exchanges: int = 0
    next_delivery: int = 1
    zombie: bool = False
    held: dict[int, Held] = field(default_factory=dict)

    @property
    def session(self) -> str:
        return f"{self.name}.{self.incarnation}"

    def start_anew(self) -> None:
        self.incarnation += 1
        self.exchanges = 0
        self.zombie = False
        self.held.clear()


@dataclass
class Fate:
    """What the model knows of one entry."""

    order_id: str
    failures: int = 0
    orphanings: int = 0
    ended: str = ""


class ScriptFailed(AssertionError):
    """A script ended midway, and nothing was lost."""


class QueueMachine(RuleBasedStateMachine):
    """Set `client` and `url` on a subclass: an empty server of its own."""

    client: Any
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.runner = asyncio.Runner()
        url = RedisUrl.parse(self.url)
        self.queue = RedisQueue("orders", url, _POLICY, lambda _: None)
        self.operating_client = open_client(url)
        self.operator = Operator(self.operating_client, "orders", url)
        self.hands = {name: Hand(name) for name in WORKERS}
        self.fates: dict[bytes, Fate] = {}
        self.fulfilled: set[str] = set()
        self.cancelled: set[str] = set()
        self.paused = False

    def teardown(self) -> None:
        self.runner.run(self.queue.close())
        self.runner.run(self.operating_client.aclose())
        self.runner.close()

    # --- what may happen ----------------------------------------------------------------------

    @initialize(order_ids=st.lists(st.sampled_from(IDS), max_size=4))
    def begin_with(self, order_ids: list[str]) -> None:
        for order_id in order_ids:
            self.push(order_id)

    @rule(order_id=st.sampled_from(IDS))
    def push(self, order_id: str) -> None:
        raw = b'{"order_id": "%s", "n": %d}' % (order_id.encode(), len(self.fates))
        self.fates[raw] = Fate(order_id)
        self.client.lpush("orders", raw)

    @rule(name=st.sampled_from(WORKERS), many=st.integers(1, 3))
    def claim(self, name: str, many: int) -> None:
        self.say(self.hands[name], claim=many)

    @rule(name=st.sampled_from(WORKERS))
    def heartbeat(self, name: str) -> None:
        self.say(self.hands[name])

    @rule(name=st.sampled_from(WORKERS), data=st.data())
    def begin(self, name: str, data: st.DataObject) -> None:
        hand = self.hands[name]
        unbegun = [held for held in hand.held.values() if not held.begun]
        if not unbegun:
            return
        many = data.draw(st.integers(1, len(unbegun)))
        self.say(hand, begin=unbegun[:many])

    @rule(
        name=st.sampled_from(WORKERS),
        data=st.data(),
        how=st.sampled_from(["fulfilled", "retried", "dead", "requeued", "postponed", "withdrawn"]),
        claim=st.integers(0, 2),
    )
    def end(self, name: str, data: st.DataObject, how: str, claim: int) -> None:
        hand = self.hands[name]
        begun = [held for held in hand.held.values() if held.begun]
        if begun:
            held = data.draw(st.sampled_from(begun))
            self.say(hand, ended=[(held, how)], claim=claim)

    @rule(
        name=st.sampled_from(WORKERS),
        data=st.data(),
        how=st.sampled_from(["given back"] * 4 + ["scheduled"]),
    )
    def give_back(self, name: str, data: st.DataObject, how: str) -> None:
        """What has not begun, as far as the worker knows; or may not yet, as its bytes say."""
        hand = self.hands[name]
        unbegun = [held for held in hand.held.values() if not held.begun]
        if unbegun:
            self.say(hand, ended=[(data.draw(st.sampled_from(unbegun)), how)])

    @rule(name=st.sampled_from(WORKERS))
    def lease_runs_out(self, name: str) -> None:
        self.expire_lease(self.hands[name])

    @rule(name=st.sampled_from(WORKERS))
    def worker_is_killed(self, name: str) -> None:
        self.expire_lease(self.hands[name])
        self.hands[name].start_anew()

    @rule(name=st.sampled_from(WORKERS))
    def supervisor_releases(self, name: str) -> None:
        """A worker's process has ended, and its supervisor has seen it."""
        hand = self.hands[name]
        if not hand.zombie:
            for held in hand.held.values():
                self.fates[held.claimed.raw].orphanings += 1
        self.ask(self.queue.release(hand.session))
        hand.start_anew()

    def ask_what_is_held(self, hand: Hand) -> None:
        holdings = self.runner.run(
            self.queue.holdings(hand.session, hand.exchanges + 2, hand.held.keys())
        )
        assert not holdings.lease_lost
        hand.exchanges = holdings.number
        for claimed in holdings.unknown:
            self.hold(hand, claimed)
        assert holdings.deliveries == set(hand.held)

    def expire_lease(self, hand: Hand) -> None:
        if not self.client.zadd(keys.leases("orders"), {hand.session: 1}, xx=True, ch=True):
            return
        hand.zombie = True
        for entry in self.client.hvals(keys.in_flight("orders", hand.session)):
            self.fates[entry.split(b"\n", 1)[1]].orphanings += 1

    @rule(name=st.sampled_from(WORKERS), how=st.sampled_from(["fulfilled", "retried", "dead"]))
    def work_off(self, name: str, how: str) -> None:
        """Everything that a worker does with its orders, in a row."""
        hand = self.hands[name]
        self.say(hand, claim=2)
        self.say(hand, begin=[held for held in hand.held.values() if not held.begun])
        for held in [held for held in hand.held.values() if held.begun]:
            self.say(hand, ended=[(held, how)])

    @rule()
    def orders_come_due(self) -> None:
        for copy in self.client.zrange(keys.scheduled("orders"), 0, -1):
            self.client.zadd(keys.scheduled("orders"), {copy: 1}, xx=True)
        for member in self.client.zrange(keys.retry("orders"), 0, -1):
            self.client.zadd(keys.retry("orders"), {member: 1}, xx=True)

    @rule(name=st.sampled_from(WORKERS), many=st.integers(1, 2))
    def reply_is_lost(self, name: str, many: int) -> None:
        """The exchange takes place; the worker hears nothing, and asks what it holds."""
        hand = self.hands[name]
        if hand.zombie:
            return
        known = set(hand.held)
        self.say(hand, claim=many)
        for number in hand.held.keys() - known:
            del hand.held[number]
        self.ask_what_is_held(hand)

    @rule(name=st.sampled_from(WORKERS), claim=st.integers(0, 2), asked=st.booleans())
    def exchange_arrives_late_or_twice(self, name: str, claim: int, asked: bool) -> None:
        """By then the worker has asked what it holds, or the same exchange has taken place."""
        hand = self.hands[name]
        if hand.zombie:
            return
        unbegun = [held for held in hand.held.values() if not held.begun]
        begun = [held for held in hand.held.values() if held.begun][:1]
        late = self.exchange(hand, claim, unbegun, [(held, "fulfilled") for held in begun])
        if asked:
            asks = hand.exchanges + 2
            holdings = self.ask(self.queue.holdings(hand.session, asks, hand.held.keys()))
            assert holdings.deliveries == set(hand.held)
            assert not holdings.unknown
            hand.exchanges = holdings.number
        else:
            self.send(hand, late, unbegun, [(held, "fulfilled") for held in begun])
        before = self.snapshot()
        assert self.ask(self.queue.exchange(late)).stale
        if asked:
            assert self.ask(self.queue.holdings(hand.session, asks, ())).stale
        assert self.snapshot() == before, "an exchange that is not the next one changes nothing"

    @rule(redis_itself=st.booleans())
    def nobody_is_heard_for_long(self, redis_itself: bool) -> None:
        """All leases run out. Where Redis was away itself, that was no worker's fault."""
        if redis_itself:
            while self.client.zcount(keys.leases("orders"), "-inf", 1):
                self.audit()
            for session in self.client.zrange(keys.leases("orders"), 0, -1):
                self.client.zadd(keys.leases("orders"), {session: 1})
            self.client.hset(keys.books("orders"), "life", "0123456789abcdef")
        else:
            for hand in self.hands.values():
                self.expire_lease(hand)
        self.runner.run(self.queue.close())
        self.audit()
        life = self.client.hget(keys.books("orders"), "life")
        assert life != b"0123456789abcdef", "who connects next must know that it is the same life"

    @rule()
    def server_forgets_its_scripts(self) -> None:
        self.client.script_flush()

    @rule()
    def operator_pauses_or_resumes(self) -> None:
        change = self.operator.resume() if self.paused else self.operator.pause()
        assert self.runner.run(change), "it was as the model has it"
        self.paused = not self.paused

    @precondition(lambda self: self.client.hlen(keys.dead("orders")))
    @rule(data=st.data(), how=st.sampled_from(["retried", "dropped"]))
    def operator_retries_or_drops(self, data: st.DataObject, how: str) -> None:
        """Some dead letters, and one that was never there."""
        letters = self.client.hgetall(keys.dead("orders"))
        numbers = sorted(map(int, letters))
        chosen = data.draw(st.lists(st.sampled_from(numbers), min_size=1, unique=True))
        act = self.operator.retry_dead if how == "retried" else self.operator.drop_dead
        done: list[int] = []
        self.ask(act([*chosen, max(numbers) + 1000], done.extend))
        assert done == chosen, "each is told of, and no other"
        for number in done:
            raw = letters[b"%d" % number].split(b"\n", 1)[1]
            self.fates[raw] = Fate(
                self.fates[raw].order_id, ended="" if how == "retried" else "dropped"
            )

    @rule(order_id=st.sampled_from(IDS), act=st.sampled_from(["hold", "hold", "cancel", "release"]))
    def operator_holds_cancels_or_releases(self, order_id: str, act: str) -> None:
        """Wherever the order is, and also where it never comes."""
        was, wish = self.status(order_id)
        places = self.places()
        letters = [
            int(number)
            for number, letter in self.client.hgetall(keys.dead("orders")).items()
            if self.fates[letter.split(b"\n", 1)[1]].order_id == order_id
        ]
        match act:
            case "hold":
                told = self.ask(self.operator.hold(order_id))
            case "cancel":
                told = self.ask(self.operator.cancel(order_id, HOUR_MS, letters))
            case _:
                told = self.ask(self.operator.release(order_id))
        assert (told.was, told.wish) == (was, wish)
        held = [raw for raw, where in places.items() if self.is_held(raw, where, order_id)]
        if act == "cancel" and (was == "held" or (was in ("", "dead") and letters)):
            self.cancel(order_id, held if was == "held" else self.dead_of(order_id, places))
            assert told.many
        elif act == "release" and was == "held":
            assert told.many == len(held)
        final = {"fulfilled", "cancelled"}
        wished = self.status(order_id)[1]
        if act == "release" or was in final or told.many:
            assert wished == ("" if was not in final else wish), "no wish is left"
        elif wish == "cancel" or (was == "held" and act == "hold"):
            assert wished == wish, "a cancellation is not undone by a hold"
        else:
            assert wished == act

    def is_held(self, raw: bytes, places: list[str], order_id: str) -> bool:
        return self.fates[raw].order_id == order_id and places == ["held"]

    def dead_of(self, order_id: str, places: dict[bytes, list[str]]) -> list[bytes]:
        return [
            raw
            for raw, where in places.items()
            if where == ["dead"] and self.fates[raw].order_id == order_id
        ]

    def cancel(self, order_id: str, raws: list[bytes]) -> None:
        self.cancelled.add(order_id)
        for raw in raws:
            self.fates[raw].ended = "cancelled"

    def status(self, order_id: str) -> tuple[str, str]:
        """What the order is, and what is wished for it."""
        told = self.client.hmget(keys.order("orders", order_id), "status", "wish")
        return (told[0] or b"").decode(), (told[1] or b"").decode()

    @precondition(lambda self: self.client.llen("orders"))
    @rule()
    def idle_worker_is_woken(self) -> None:
        """BLMOVE, and its worker dies before it claims."""
        self.client.lmove("orders", keys.woken("orders"), "RIGHT", "LEFT")

    @precondition(lambda self: self.client.llen("orders"))
    @rule(name=st.sampled_from(WORKERS), has_spoken=st.booleans())
    def order_finds_an_exchange_that_stands_by(self, name: str, has_spoken: bool) -> None:
        hand = self.hands[name]
        if hand.held or hand.zombie:
            return
        exchange = msgspec.structs.replace(self.exchange(hand, 1, [], []), standing=True)
        if has_spoken:
            self.say(hand)
        self.ask(self.queue.stand_by(exchange))
        rung = self.ask(self.queue.wait(5))
        if rung.reply:
            assert not has_spoken, "an exchange that is not the next one changes nothing"
            assert len(rung.reply.claimed) <= (not self.paused)
            self.hear(hand, rung.reply, [], [], {})
        elif rung.exchange:
            self.ask_what_is_held(hand)
        else:
            assert has_spoken

    def ask(self, question: Coroutine[Any, Any, T], may_end: Collection[bytes] = ()) -> T:
        """What the queue answers. Where a script ends midway, nothing may be lost by it."""
        try:
            return self.runner.run(question)
        except QueueUnavailable as error:
            self.assert_nothing_is_lost(may_end)
            raise ScriptFailed(f"the queue failed: {error}") from error

    def assert_nothing_is_lost(self, may_end: Collection[bytes]) -> None:
        """Not even for the moment: at worst an order is there twice."""
        for raw, places in self.places().items():
            fate = self.fates[raw]
            status = self.client.hget(keys.order("orders", fate.order_id), "status")
            if fate.ended in ("", "dead") and not (raw in may_end and status == b"fulfilled"):
                assert places, f"invariant 1: {raw!r} is lost"

    # --- how a worker speaks ------------------------------------------------------------------

    def say(
        self,
        hand: Hand,
        *,
        claim: int = 0,
        begin: list[Held] | None = None,
        ended: list[tuple[Held, str]] | None = None,
    ) -> None:
        begin, ended = begin or [], ended or []
        self.send(hand, self.exchange(hand, claim, begin, ended), begin, ended)

    def exchange(
        self,
        hand: Hand,
        claim: int,
        begin: list[Held],
        ended: list[tuple[Held, str]],
    ) -> Exchange:
        first_delivery, hand.next_delivery = hand.next_delivery, hand.next_delivery + claim
        return Exchange(
            worker=hand.session,
            number=hand.exchanges + 1,
            holding=len(hand.held),
            outcomes=[self.outcome(held, how) for held, how in ended],
            begins=[
                Begin(h.claimed.delivery, h.order_id, h.claimed.failures + 1, 1) for h in begin
            ],
            claim=claim,
            first_delivery=first_delivery,
            suspects=sum(held.claimed.last_chance for held in hand.held.values()),
        )

    def send(
        self, hand: Hand, exchange: Exchange, begin: list[Held], ended: list[tuple[Held, str]]
    ) -> None:
        before = self.snapshot()
        self.wishes = {order_id: self.status(order_id)[1] for order_id in IDS}
        may_end = {held.claimed.raw for held in (*begin, *(held for held, _ in ended))}
        reply = self.ask(self.queue.exchange(exchange), may_end)
        self.hear(hand, reply, begin, ended, before)

    def outcome(self, held: Held, how: str) -> Outcome:
        delivery, attempt = held.claimed.delivery, held.claimed.failures + 1
        match how:
            case "fulfilled":
                return Fulfilled(delivery, held.order_id, attempt)
            case "retried":
                return Retried(delivery, held.order_id, attempt, "oh", HOUR_MS)
            case "dead":
                return Dead(delivery, held.order_id, attempt, "no", DeadReason.REJECTED)
            case "given back":
                return Requeued(delivery, "", attempt)
            case "postponed":
                return Postponed(delivery, held.order_id, attempt, "later", HOUR_MS, 0)
            case "withdrawn":
                return Withdrawn(delivery, held.order_id, attempt)
            case "scheduled":
                return Scheduled(delivery, held.order_id, attempt, 2**42)
            case _:
                return Requeued(delivery, held.order_id, attempt)

    def hear(
        self,
        hand: Hand,
        reply: Reply,
        begin: list[Held],
        ended: list[tuple[Held, str]],
        before: dict[str, Any],
    ) -> None:
        assert not reply.stale
        if hand.zombie and hand.held:
            assert reply.lease_lost, "invariant 2: a worker without a lease changes nothing"
        if reply.lease_lost:
            assert hand.zombie
            assert self.snapshot() == before, "invariant 2: nothing was changed"
            hand.start_anew()
            return
        hand.zombie = False
        hand.exchanges += 1
        for held, how in ended:
            self.note_end(hand, held, how, reply.obeyed.get(held.claimed.delivery))
        for held, verdict in zip(begin, reply.verdicts, strict=True):
            self.note_verdict(hand, held, verdict)
        wished = {
            number
            for number, held in hand.held.items()
            if held.begun and self.status(held.order_id)[1]
        }
        assert wished <= reply.stops.keys(), "a worker is told which attempts to stop"
        for delivery, becomes in reply.stops.items():
            # It has begun, or the reply that said so was lost.
            wish = self.status(hand.held[delivery].order_id)[1]
            assert becomes == (Withdrawal.CANCELLED if wish == "cancel" else Withdrawal.HELD)
        for claimed in reply.claimed:
            self.hold(hand, claimed)
            if claimed.begun:
                held = hand.held[claimed.delivery]
                assert claimed.begun == held.order_id
                self.note_verdict(hand, held, Verdict.GO)

    def hold(self, hand: Hand, claimed: Claimed) -> None:
        fate = self.fates[claimed.raw]
        assert (claimed.failures, claimed.orphanings) == (fate.failures, fate.orphanings), (
            "invariant 4: failures and orphanings are counted apart"
        )
        hand.held[claimed.delivery] = Held(claimed, fate.order_id)
        if claimed.last_chance:
            suspects = [h for h in hand.held.values() if h.claimed.last_chance]
            assert len(suspects) == 1, "orders on their last chance run one at a time"

    def note_end(self, hand: Hand, held: Held, how: str, became: Withdrawal | None) -> None:
        del hand.held[held.claimed.delivery]
        fate = self.fates[held.claimed.raw]
        wish = self.wishes[held.order_id]
        if held.begun and how != "fulfilled":
            left = how == "dead" and wish == "hold"
            assert (became is not None) == (wish != "" and not left), "a wish is overtaken"
        if how == "retried":
            fate.failures += 1
        if became is not None:
            if how == "dead":
                fate.failures += 1
            if became is Withdrawal.CANCELLED:
                self.cancel(held.order_id, [held.claimed.raw])
        elif how in ("fulfilled", "dead"):
            fate.ended = how
        if how == "fulfilled":
            self.fulfilled.add(fate.order_id)

    def note_verdict(self, hand: Hand, held: Held, verdict: Verdict) -> None:
        if verdict is Verdict.GO:
            assert held.order_id not in self.fulfilled, "invariant 3: terminal is terminal"
            assert held.order_id not in self.cancelled, "invariant 3: terminal is terminal"
            assert self.status(held.order_id)[1] == "", (
                "what is wished keeps an order from starting"
            )
            others = [
                other
                for each in self.hands.values()
                if not each.zombie
                for other in each.held.values()
                if other.begun and other.order_id == held.order_id
            ]
            assert not others, "the same order is never handled twice at once"
            held.begun = True
            return
        del hand.held[held.claimed.delivery]
        if verdict is Verdict.DUPLICATE:
            assert held.order_id in self.fulfilled | self.cancelled
            self.fates[held.claimed.raw].ended = "duplicate"
        elif verdict is Verdict.CANCELLED:
            self.cancel(held.order_id, [held.claimed.raw])
        elif verdict is Verdict.HELD:
            assert self.places()[held.claimed.raw] == ["held"]
        else:
            assert verdict is Verdict.BUSY

    def note_quarantined(self) -> None:
        """Whoever speaks reaps, so the model learns only here which orphans are dead."""
        for letter in self.client.hvals(keys.dead("orders")):
            header, raw = letter.split(b"\n", 1)
            if b'"orphaned"' in header:
                assert self.fates[raw].orphanings == MAX_ORPHANINGS, "invariant 4: the cap"
                self.fates[raw].ended = "dead"
        # An orphaned copy of a fulfilled order is a duplicate when it is put back.
        copies = [
            raw
            for raw, fate in self.fates.items()
            if fate.orphanings
            and not fate.ended
            and fate.order_id in self.fulfilled | self.cancelled
        ]
        places = self.places() if copies else {}
        for raw in copies:
            if not places[raw]:
                self.fates[raw].ended = "duplicate"

    # --- what must be true after every step ---------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Everything that Redis holds of the queue."""
        held = {}
        for key in sorted(self.client.keys("*")):
            kind = self.client.type(key)
            reader = {
                b"list": lambda k: self.client.lrange(k, 0, -1),
                b"hash": self.client.hgetall,
                b"zset": lambda k: self.client.zrange(k, 0, -1, withscores=True),
                b"stream": self.client.xlen,
                b"string": self.client.get,
            }[kind]
            held[key.decode()] = reader(key)
        return held

    def places(self) -> dict[bytes, list[str]]:
        """Where each entry lies, for all that lie anywhere."""
        found: dict[bytes, list[str]] = {raw: [] for raw in self.fates}
        for name in (keys.public("orders"), keys.woken("orders")):
            for raw in self.client.lrange(name, 0, -1):
                found[raw].append("waiting")
        packed = {
            "retrying": self.client.zrange(keys.retry("orders"), 0, -1)
            + self.client.lrange(keys.suspects("orders"), 0, -1)
            + self.client.hvals(keys.parked("orders")),
            "scheduled": self.client.hvals(keys.set_aside("orders")),
            "held": self.client.hvals(keys.held("orders")),
        }
        for place, entries in packed.items():
            for entry in entries:
                found[entry.split(b"\n", 1)[1]].append(place)
        for key in self.client.keys(keys.in_flight_prefix("orders").replace("{", "[{]") + "*"):
            for entry in self.client.hvals(key):
                found[entry.split(b"\n", 1)[1]].append(f"in flight {key.decode()}")
        for letter in self.client.hvals(keys.dead("orders")):
            found[letter.split(b"\n", 1)[1]].append("dead")
        return found

    @invariant()
    def every_order_is_in_exactly_one_place(self) -> None:
        self.note_quarantined()
        for raw, places in self.places().items():
            fate = self.fates[raw]
            if fate.ended in ("fulfilled", "duplicate", "dropped", "cancelled"):
                assert places == [], f"invariant 1: {raw!r} has ended, and lies in {places}"
            elif fate.ended == "dead":
                assert places == ["dead"], f"invariant 1: {raw!r} is dead, and lies in {places}"
            else:
                assert len(places) == 1, f"invariant 1: {raw!r} lies in {places}"
                assert places != ["dead"], f"invariant 1: {raw!r} is dead for no reason"

    @invariant()
    def live_workers_hold_what_they_think_they_hold(self) -> None:
        for hand in self.hands.values():
            if not hand.zombie:
                held = self.client.hkeys(keys.in_flight("orders", hand.session))
                assert {int(number) for number in held} == set(hand.held), "invariant 2: one owner"

    @invariant()
    def fulfilled_orders_say_so(self) -> None:
        for order_id in self.fulfilled:
            assert self.status(order_id) == ("fulfilled", ""), f"invariant 3: {order_id}"

    @invariant()
    def cancelled_orders_say_so(self) -> None:
        for order_id in self.cancelled:
            assert self.status(order_id) == ("cancelled", ""), f"invariant 3: {order_id}"

    @invariant()
    def held_orders_say_so(self) -> None:
        """And are found by their ids, so that they can be released."""
        named: set[bytes] = set()
        for order_id in IDS:
            status, copies = self.client.hmget(keys.order("orders", order_id), "status", "held")
            assert (status == b"held") == (copies is not None), f"{order_id}: {status} {copies}"
            named |= set((copies or b"").split())
        assert set(self.client.hkeys(keys.held("orders"))) == named, "a held order is forgotten"

    @invariant()
    def begun_orders_say_so(self) -> None:
        for hand in self.hands.values():
            for held in hand.held.values():
                if held.begun and not hand.zombie:
                    order = self.client.hgetall(keys.order("orders", held.order_id))
                    assert order.get(b"status") == b"processing"
                    assert order.get(b"worker") == hand.session.encode()

    @invariant()
    def what_is_processing_is_in_flight(self) -> None:
        for order_id in IDS:
            status, *held = self.client.hmget(
                keys.order("orders", order_id), "status", "worker", "delivery"
            )
            if status == b"processing":
                holder = keys.in_flight("orders", held[0].decode())
                assert self.client.hexists(holder, held[1]), f"{order_id} is held by nobody"

    @invariant()
    def the_books_balance(self) -> None:
        survey = self.audit()
        assert survey.unaccounted == 0, f"invariant 5: {survey}"
        waiting = sum("waiting" in places for places in self.places().values())
        assert survey.waiting == waiting
        assert survey.received + waiting == len(self.fates), f"invariant 5: {survey}"
        dropped = sum(fate.ended == "dropped" for fate in self.fates.values())
        assert survey.dropped == dropped, f"invariant 5: {survey}"
        cancelled = sum(fate.ended == "cancelled" for fate in self.fates.values())
        assert survey.cancelled == cancelled, f"invariant 5: {survey}"

    def audit(self) -> Survey:
        """An exchange of one who holds nothing, and puts back the orphans of one worker."""
        exchange = Exchange(worker="auditor", survey=True, leaving=True)
        survey = self.ask(self.queue.exchange(exchange)).survey
        assert survey is not None
        return survey
