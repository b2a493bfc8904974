"""A queue of orders in Redis: each of its methods is one command or one function."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

import msgspec

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.decode import NotJson, enqueued_unix, parse
from fulfillment_worker.core.exchange import (
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
from fulfillment_worker.core.limits import read_limits
from fulfillment_worker.core.outcome import Withdrawal
from fulfillment_worker.queue import keys, library
from fulfillment_worker.queue.client import BlockingClient, Client, Command, Heartbeats, Listener
from fulfillment_worker.queue.connection import PATIENCE
from fulfillment_worker.queue.exchanges import Heard, told
from fulfillment_worker.queue.library import Function
from fulfillment_worker.queue.shared_client import QueueClient, SharedConnections

_pack = msgspec.msgpack.Encoder().encode
_VERDICTS = {int(verdict): verdict for verdict in Verdict}
_LIMITED = tuple(Limited)


class QueuePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What the functions need to know. Times in milliseconds; 0 and "" where there is none."""

    lease: int
    status_ttl: int
    max_orphanings: int
    id_field: str
    max_order_bytes: int = 1024 * 1024
    events_ttl: int = 24 * 3600 * 1000
    max_age: int = 0
    not_before_field: str = ""
    expires_field: str = ""


class RedisQueue(Queue):
    """The Queue of core/exchange.py, over two lines: one to talk, one to wait for orders.

    shared: the connections that it has together with other queues, where they are many.
    """

    def __init__(
        self,
        name: str,
        url: RedisUrl,
        policy: QueuePolicy,
        listener: Listener,
        shared: SharedConnections | None = None,
    ) -> None:
        self.name = name
        self._last_chance = max(1, min(2, policy.max_orphanings - 1))
        self._policy = _pack(msgspec.to_builtins(policy) | library.keys_in_policy(name))
        self._keys = [key(name) for key in FUNCTION_KEYS]
        self._heard = Heard()
        self._wake: Callable[[], None] = _nothing
        public = keys.public(name)
        self._talk: Client | QueueClient = Client(url, listener, key=public, first=self._meeting)
        if shared:
            self._talk = shared.client(self._meeting)
        self._watch = shared.watch if shared else None
        self._bell = BlockingClient(
            url, listener, key=public, channel=keys.wake(name), hear=self._hear
        )
        # Those sent behind the wait, in this order (all but the last are stale), and the next one.
        self._standing: list[Exchange] = []
        self._to_stand_by: list[Exchange] = []

    async def send(self, exchange: Exchange) -> Awaitable[Reply]:
        """See Queue."""
        sent_at = time.monotonic()
        args = self._arguments(exchange.worker, _pack(told(exchange, self._heard, sent_at)))
        heart = Heartbeats(library.LIBRARY.call(Function.HEARTBEAT, *args[:-1]))
        answer = await self._talk.send(Function.EXCHANGE, *args, patience=PATIENCE, heart=heart)
        return self._receive(exchange, answer, heart, sent_at)

    async def _receive(
        self, exchange: Exchange, answer: Awaitable[Any], heart: Heartbeats, sent_at: float
    ) -> Reply:
        reply = await answer
        if reply[0] == 0:
            at = time.monotonic()
            self._heard = Heard(reply[-1], sent_at, at, self._heard.first_at or at)
        return self._read_reply(exchange, reply, heart.beat_at)

    async def holdings(
        self, worker: str, number: int, known: Collection[int], delay_ms: int = 0
    ) -> Holdings:
        """See Queue."""
        clock = _pack(self._heard.told(time.monotonic()))
        said = _pack(list(known)), b"%d" % delay_ms, clock, b"%d" % number
        reply = await self._call(Function.HOLDINGS, worker, *said)
        if reply[0] != 0:
            return Holdings(reply[1], lease_lost=reply[0] == 1, stale=reply[0] == 2)
        _, now, deliveries, parts, given_back, first_claims = reply
        unknown = [
            self._read_entry(int(parts[i]), parts[i + 1], parts[i + 2].decode())
            for i in range(0, len(parts), 3)
        ]
        return Holdings(
            now,
            number=number,
            deliveries=frozenset(map(int, deliveries)),
            unknown=unknown,
            given_back=given_back,
            first_claims=first_claims,
        )

    async def release(self, worker: str) -> Released:
        """See Queue."""
        recovered, orphaned, left = 0, 0, 1
        while left:
            moved, dead, left = await self._call(Function.RELEASE, worker)
            recovered, orphaned = recovered + moved, orphaned + dead
        return Released(recovered, orphaned)

    async def wait(self, seconds: float) -> Wakeup:
        """See Queue. The order moves to the `woken` list: one order wakes one worker.

        Where queues share a connection, it stays where it is, and wakes all that watch.
        """
        if self._watch:
            await self._watch.wait(keys.public(self.name))
            return Wakeup(came=True)
        self._standing, self._to_stand_by = self._to_stand_by, []
        try:
            moved, *replies = await self._bell.block(
                "wait",
                *("BLMOVE", keys.public(self.name), keys.woken(self.name)),
                *("RIGHT", "LEFT", f"{seconds:.3f}"),
                behind=[self._stand_by(each) for each in self._standing],
                patience=seconds + PATIENCE,
            )
        except QueueUnavailable:
            await self._talk.close_if_idle()
            raise
        came = moved is not None
        for exchange, reply in zip(self._standing, replies, strict=False):
            if reply is None:
                # Redis may have forgotten the library, say: who asks what happened finds out.
                await self._bell.close()
                return Wakeup(came, exchange)
            if reply[0] == 0:
                return Wakeup(came, exchange, self._read_reply(exchange, reply, None))
        return Wakeup(came)

    async def stand_by(self, exchange: Exchange) -> None:
        """See Queue. It waits behind the command that blocks, on the same connection: Redis
        goes on to it by itself.
        """
        if self._bell.waits:
            self._standing.append(exchange)
            self._bell.send_behind(*self._stand_by(exchange))
        else:
            self._to_stand_by = [exchange]

    def on_wake(self, wake: Callable[[], None]) -> None:
        """See Queue."""
        self._wake = wake
        if self._watch:
            self._watch.on_wake(keys.wake(self.name), wake)

    def _hear(self, pushed: list[Any] | None) -> None:
        if pushed and pushed[0] == b"message":
            self._wake()

    async def close(self) -> None:
        """See Queue."""
        await self._bell.close()
        await self._talk.close()

    def rights(self) -> list[Command]:
        """Commands that try what the user may do; each is refused where a right is missing."""
        return self._trying(Function.RIGHTS)

    def _meeting(self) -> list[Command]:
        # Rights are tried before an order is touched, and not in the middle.
        return self._trying(Function.GREET)

    def _trying(self, function: Function) -> list[Command]:
        scratch = keys.scratch(self.name)
        return [
            library.LIBRARY.call(function, len(self._keys), *self._keys, self._policy, ""),
            # Not allowed in a function; something is there, so it returns at once.
            ("LPUSH", scratch, "x"),
            ("BLMOVE", scratch, scratch, "RIGHT", "LEFT", 1),
            ("DEL", scratch),
        ]

    async def _call(self, function: Function, worker: str, *said: bytes) -> Any:
        return await self._talk.call(function, *self._arguments(worker, *said), patience=PATIENCE)

    def _stand_by(self, exchange: Exchange) -> tuple[Any, ...]:
        said = b"%d" % exchange.number, b"%d" % exchange.first_delivery
        return library.LIBRARY.call(Function.STAND_BY, *self._arguments(exchange.worker, *said))

    def _arguments(self, worker: str, *said: bytes) -> tuple[Any, ...]:
        names = [*self._keys, keys.in_flight(self.name, worker)]
        return len(names), *names, self._policy, worker, *said

    def _read_reply(self, exchange: Exchange, reply: list[Any], renewed_at: float | None) -> Reply:
        if reply[0] != 0:
            return Reply(now=reply[1], lease_lost=reply[0] == 1, stale=reply[0] == 2)
        return self._read_done(exchange, renewed_at, *reply[1:-1])

    def _read_done(
        self,
        exchange: Exchange,
        renewed_at: float | None,
        now: int,
        verdicts: list[int],
        packed: list[bytes],
        first_claims: int,
        recovered: int,
        orphaned: int,
        backlog: int,
        paused: int,
        limited: int,
        next_due: int,
        survey: list[Any],
        begun: list[bytes],
        ids: list[bytes],
        oversized: list[int],
        wishes: list[list[bytes]],
    ) -> Reply:
        stops, obeyed = wishes or ((), ())
        return Reply(
            now=now,
            verdicts=[_VERDICTS[verdict] for verdict in verdicts],
            claimed=self._read_entries(exchange.first_delivery, packed, now, ids, begun),
            first_claims=first_claims,
            oversized=oversized,
            recovered=recovered,
            orphaned=orphaned,
            backlog=backlog == 1,
            paused=paused == 1,
            limited=_LIMITED[limited],
            next_due=None if next_due < 0 else next_due,
            survey=_read_survey(now, *survey) if survey else None,
            stops=_withdrawals(stops),
            obeyed=_withdrawals(obeyed),
            renewed_at=renewed_at,
        )

    def _read_entries(
        self, first: int, packed: list[bytes], now: int, ids: list[bytes], begun: list[bytes]
    ) -> list[Claimed]:
        """ids, begun: delivery and id, in turn, of those whose id is known from an earlier attempt,
        and of those that have begun.
        """
        known, early = _by_delivery(ids), _by_delivery(begun)
        claimed = []
        fresh = b" 0 0 %d" % now
        for delivery, entry in enumerate(packed, first):
            header, _, raw = entry.partition(b"\n")
            if header.endswith(fresh) and delivery not in known:
                # Never claimed before, as nearly all: its header needs no reading.
                order_id = early.get(delivery, "") if early else ""
                claimed.append(Claimed(delivery, raw, 0, 0, now, False, begun=order_id))
            else:
                claimed.append(self._read_entry(delivery, entry, known.get(delivery, "")))
        return claimed

    def _read_entry(self, delivery: int, packed: bytes, order_id: str) -> Claimed:
        header, _, raw = packed.partition(b"\n")
        _copy, failures, orphanings, first_seen = header.split(b" ")
        return Claimed(
            delivery,
            raw,
            int(failures),
            int(orphanings),
            int(first_seen),
            int(orphanings) >= self._last_chance,
            order_id,
        )


def _nothing() -> None:
    """Nobody asked to be woken."""


_NO_SKEW = 1000  # ms

FUNCTION_KEYS = (
    keys.public,
    keys.events,
    keys.woken,
    keys.retry,
    keys.suspects,
    keys.leases,
    keys.workers,
    keys.dead,
    keys.books,
    keys.arrivals,
    keys.ids,
)


def _by_delivery(pairs: list[bytes]) -> dict[int, str]:
    return {int(pairs[i]): pairs[i + 1].decode() for i in range(0, len(pairs), 2)}


def _withdrawals(pairs: Sequence[bytes]) -> dict[int, Withdrawal]:
    return {int(pairs[i]): Withdrawal(pairs[i + 1].decode()) for i in range(0, len(pairs), 2)}


def _read_survey(
    now: int,
    waiting: int,
    in_flight: int,
    retrying: int,
    scheduled: int,
    held: int,
    dead: int,
    since: int,
    received: int,
    fulfilled: int,
    duplicates: int,
    dropped: int,
    cancelled: int,
    head: bytes,
    limits: list[Any],
) -> Survey:
    return Survey(
        at=now,
        waiting=waiting,
        in_flight=in_flight,
        retrying=retrying,
        scheduled=scheduled,
        held=held,
        dead=dead,
        oldest=min(now, since, _told_by(head, since, now)),
        received=received,
        fulfilled=fulfilled,
        duplicates=duplicates,
        dropped=dropped,
        cancelled=cancelled,
        limits=read_limits(limits[0] if limits else None),
        used=LimitUse(*limits[1:]),
    )


def _told_by(head: bytes, otherwise: int, now: int) -> int:
    """When the order at the head says that it was enqueued, in ms of Redis's clock.

    Producers go by the true time, as this host does: where Redis's clock is off, that is made up
    for. Below a second it is no more than the way of the reply.
    """
    try:
        body = parse(head) if head else None
    except NotJson:
        return otherwise
    seconds = enqueued_unix(body) if isinstance(body, dict) else None
    if seconds is None:
        return otherwise
    off = now - round(time.time() * 1000)
    return round(seconds * 1000) + (off if abs(off) > _NO_SKEW else 0)
