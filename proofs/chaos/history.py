"""The history of one round (docs/history.md), put together from what its witnesses saw.

Orders are told from three sides: the producer, the stream of events, and the handlers' own record.
Redis tells the time in whole milliseconds, and the others more exactly. So what must have come
first of two things that happened within a few milliseconds is put first.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from proofs.chaos.fleet import LEASE, MAX_ATTEMPTS, MAX_ORPHANINGS, TIMEOUT, pid_of
from proofs.chaos.ground import Ground, Injected
from proofs.chaos.load import Placed
from proofs.chaos.record import Call
from proofs.chaos.seen import Seen
from proofs.chaos.witness import Told
from tests.support.orders import books

QUEUE = "orders"
SLACK = 0.02
"""Seconds between two clocks of this machine, and of rounding."""
_UNSEEN = 1.0
"""Seconds before Redis forgot of which the witness may not have seen everything."""
_TICK = 1e-6
_BEGUN = "processing"
_HOW = {"ok": "success", "raised": "error"}
_RANKS = (
    *("rules", "up", "enqueued", "draining", "stopped", "continued", "ended", "heard", "status"),
    *("started", "died", "drained", "fault", "mended", "rolled_back", "places", "end"),
)
"""In which order things are told that happened at the same time."""

Line = dict[str, Any]


class History:
    """Makes it. seen: what Redis said of orders at the end, and before it was flushed."""

    def __init__(
        self, ground: Ground, told: dict[str, list[Told]], injected: list[Injected], seen: Seen
    ) -> None:
        self._ground = ground
        self._told = told
        self._injected = injected
        self._seen = seen
        self._losses = [fault for fault in injected if fault.lost_at is not None]
        producer = ground.producer
        everything = (producer.settled, producer.forgotten, producer.placed)
        self._orders = {placed.order_id: placed for some in everything for placed in some.values()}

    def lines(self) -> list[Line]:
        """All of it, in order."""
        lines = [
            *self._processes(),
            *(line for placed in self._orders.values() for line in self._order(placed)),
            *self._rubbish(),
            *self._faults(),
        ]
        lines += self._rollbacks(lines)
        lines.sort(key=lambda line: (line["t"], _RANKS.index(line["event"])))
        first, last = lines[0]["t"], lines[-1]["t"]
        return [
            _line(
                *(first, "rules", None),
                lease=LEASE,
                max_attempts=MAX_ATTEMPTS,
                max_orphanings=MAX_ORPHANINGS,
                order_timeout=TIMEOUT,
                merged=True,
            ),
            *lines,
            self._places(last),
            _line(last, "end", None),
        ]

    # --- processes and faults -----------------------------------------------------------------

    def _processes(self) -> Iterator[Line]:
        fleet = self._ground.fleet
        for deed in fleet.deeds:
            lease = {"lease": deed.lease} if deed.what == "up" else {}
            yield _line(deed.at, deed.what, None, worker=str(deed.pid), **lease)
        died = {call.pid: call.end for call in self._ground.record.calls if call.how == "died"}
        for pid, at in (fleet.deaths | died | self._ground.record.died).items():
            if at is not None:
                yield _line(at, "died" if pid in fleet.killed else "drained", None, worker=str(pid))

    def _faults(self) -> Iterator[Line]:
        for number, fault in enumerate(self._injected):
            yield _line(fault.began, "fault", None, kind=fault.kind, id=number)
            yield _line(fault.ended, "mended", None, id=number)

    def _places(self, at: float) -> Line:
        now = books(self._ground.site)._asdict()
        del now["received"]
        return _line(at, "places", QUEUE, **now, dropped=0)

    # --- orders -------------------------------------------------------------------------------

    def _order(self, placed: Placed) -> Iterator[Line]:
        order_id = None if placed.do == "rubbish bytes" else placed.order_id
        for unsure, many in ((False, placed.sure), (True, placed.unsure)):
            for _ in range(many):
                more = {"unsure": True} if unsure else {}
                yield _line(placed.tried, "enqueued", QUEUE, order=order_id, **more)
        if order_id is None:
            return
        calls = sorted(self._ground.record.by_order.get(order_id, ()), key=lambda call: call.start)
        told = self._complete(list(self._told.get(order_id, ())), calls)
        _, name = self._seen.statuses.get(order_id, ("", ""))
        owners = _owners(told, calls, pid_of(name) if name else None)
        last = max((i for i, each in enumerate(told) if each.status == _BEGUN), default=None)
        allowed: dict[Call, float] = {}
        now = placed.tried
        for index, (each, owner) in enumerate(zip(told, owners, strict=True)):
            # A call that was begun and recorded within one millisecond fits in between.
            now = max(_time(each, calls), now + 4 * _TICK)
            by = {} if owner is None else {"worker": str(_pid(owner))}
            if index == last and name:
                yield _line(now, "heard", QUEUE, **by, name=name)
            if isinstance(owner, Call):
                allowed[owner] = now
            reason = self._reason(placed) if each.status == "dead" else {}
            yield _line(now, "status", QUEUE, order=order_id, **_said(each), **by, **reason)
        for call in calls:
            yield from _call(call, allowed.get(call, 0.0))

    def _complete(self, told: list[Told], calls: list[Call]) -> list[Told]:
        """With the begins that nobody saw, since Redis forgot them before they were read."""
        begins = [each for each in told if each.status == _BEGUN]
        unseen = [
            Told(_BEGUN, call.start - _TICK, call.attempt, missed=True)
            for call in calls
            if self._may_be_unseen(call.start) and not any(_allows(each, call) for each in begins)
        ]
        return sorted(told + unseen, key=lambda each: each.at) if unseen else told

    def _may_be_unseen(self, at: float) -> bool:
        ends = (fault.lost_at for fault in self._losses if fault.lost_at is not None)
        return any(end - _UNSEEN <= at <= end + SLACK for end in ends)

    def _reason(self, placed: Placed) -> Line:
        reasons = self._seen.dead.get(placed.raw, set())
        return {"reason": next(iter(reasons))} if len(reasons) == 1 else {}

    def _rubbish(self) -> Iterator[Line]:
        for each in self._told.get("", ()):
            yield _line(each.at, "status", QUEUE, order=None, **_said(each))

    # --- what Redis forgot --------------------------------------------------------------------

    def _rollbacks(self, lines: list[Line]) -> list[Line]:
        found = []
        for fault in self._losses:
            at = fault.lost_at or 0.0
            some = [line for line in lines if "queue" in line and line["t"] <= at + SLACK]
            found += (self._undo_some if fault.forgetful else self._undo_all)(some, at)
        return found

    def _undo_all(self, some: list[Line], lost_at: float) -> list[Line]:
        """What was told of orders that were placed before was told before."""
        for line in some:
            order = self._orders.get(line.get("order") or "")
            if line["event"] == "status" and order and order.tried < lost_at:
                line["t"] = min(line["t"], lost_at - _TICK)
        return [_line(lost_at, "rolled_back", QUEUE, to=0.0)]

    def _undo_some(self, some: list[Line], lost_at: float) -> list[Line]:
        """What was lost is moved to after what was kept. Orders are kept if they were sure."""
        told = [line for line in some if line["event"] == "status"]
        lost = [line for line in told if line["missed"] and line["t"] >= lost_at - _UNSEEN]
        gone = set(map(id, lost))
        to = max((line["t"] for line in told if id(line) not in gone), default=lost_at - _UNSEEN)
        for number, line in enumerate(sorted(lost, key=_when), 1):
            line["t"] = max(line["t"], to + number * _TICK)
        back = max([lost_at + SLACK, *(line["t"] for line in lost)]) + _TICK
        placed = [line for line in some if line["event"] == "enqueued" and line["t"] > to]
        again = [{**line, "t": back + _TICK} for line in placed]
        return [_line(back, "rolled_back", QUEUE, to=to), *again]


def _when(line: Line) -> float:
    at: float = line["t"]
    return at


def _said(told: Told) -> Line:
    return {"status": told.status, "attempt": told.attempt, "missed": told.missed}


def _time(told: Told, calls: list[Call]) -> float:
    """When it was told: after the end of the call that it is the outcome of."""
    if told.status == _BEGUN:
        return told.at
    # What died is told as dead at its end, and its order is given back after that.
    ends = [
        call.end + (_TICK if call.how == "died" else 0)
        for call in calls
        if call.attempt == told.attempt and call.end
    ]
    return max((end for end in ends if told.at < end <= told.at + SLACK), default=told.at)


def _allows(told: Told, call: Call) -> bool:
    """Whether this begin may have allowed the call."""
    return told.attempt == call.attempt and told.at <= call.start + SLACK


def _owners(told: list[Told], calls: list[Call], last_owner: int | None) -> list[Call | int | None]:
    """Who caused each: the call that a begin allowed, else the process, as far as it is known.

    last_owner: the process that began it last, as Redis says.
    """
    owners: list[Call | int | None] = [None] * len(told)
    begins = [index for index, each in enumerate(told) if each.status == _BEGUN]
    free = list(calls)
    if begins:
        last = begins[-1]
        own = [c for c in free if c.pid == last_owner and c.attempt == told[last].attempt]
        owners[last] = own[-1] if own else last_owner
        free = [call for call in free if call is not owners[last]]
        for index in range(last + 1, len(told)):
            owners[index] = last_owner if told[index].status == "fulfilled" else None
    for call in free:
        fits = [i for i in begins if owners[i] is None and _allows(told[i], call)]
        if fits:
            owners[fits[-1]] = call
    for before, index in pairwise(begins):
        if index == before + 1 and owners[index] is None:
            owners[index] = _pid(owners[before])  # Begun again, after a reply was lost.
    return owners


def _pid(owner: Call | int | None) -> int | None:
    return owner.pid if isinstance(owner, Call) else owner


def _call(call: Call, allowed: float) -> Iterator[Line]:
    """allowed: when it was begun, as the history tells."""
    said: Line = {"order": call.order_id, "attempt": call.attempt, "worker": str(call.pid)}
    said["call"] = call.number
    start = max(call.start, allowed + _TICK)
    yield _line(start, "started", QUEUE, **said)
    if call.end is not None and call.how != "died":
        cut = "timeout" if call.end - call.start >= TIMEOUT else "interrupted"
        end = max(call.end, start + _TICK)
        yield _line(end, "ended", QUEUE, **said, how=_HOW.get(call.how, cut))


def _line(at: float, event: str, queue: str | None, **fields: Any) -> Line:
    return {"t": at, "event": event, **({"queue": queue} if queue else {}), **fields}
