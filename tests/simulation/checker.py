"""Checks the history of a queue: JSON objects, one a line, in the order of time.

`python -m tests.simulation.checker FILE` prints a line for each violation, and exits with 1 if
there is any. The events and the rules are explained in docs/history.md. The module needs nothing
but the standard library and knows nothing of the program: it can judge the history of any queue.

What Redis has may be undone (`rolled_back`), so each change of it is noted. What a process did
stays done: calls of handlers, deaths and heartbeats are kept apart from that.
"""

from __future__ import annotations

import json
import sys
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.simulation.limit_rules import Limits, Starts

Event = dict[str, Any]

_PLACES = ("waiting", "in_flight", "retrying", "dead", "fulfilled", "duplicates", "dropped")
_LATER_PLACES = ("held", "cancelled")  # A history of a queue that has none leaves them out.
_FAILING = ("error", "timeout", "retry")
_UNDER_WAY = _PLACES[:3]
_ENDED = ("fulfilled", "dead")
_FINAL = ("fulfilled", "cancelled")
_WITHDRAWN = ("held", "cancelled")


@dataclass(frozen=True)
class Violation:
    """rule: which one is broken. t: when, in seconds of the history. what: in one sentence.

    order: by which order, if by one.
    """

    rule: str
    t: float
    what: str
    order: str | None = None

    def __str__(self) -> str:
        return f"{self.t:.6f} {self.rule}: {self.what}"


@dataclass(slots=True, eq=False)
class _Hold:
    """Redis's view: this worker has begun the order. over: how it ended, "own", "taken" or "".

    limits: that were set then.
    """

    worker: str | None
    name: str | None
    attempt: int | None
    t: float
    over: str = ""
    limits: Limits | None = None


@dataclass(slots=True, eq=False)
class _Call:
    """A call of the handler.

    given_back: its worker told a result while it was still running. failure_told: its worker told
    that it failed.
    """

    worker: str
    hold: _Hold | None
    attempt: int | None
    t: float
    number: int | None = None
    end: float | None = None
    how: str = ""
    given_back: bool = False
    failure_told: bool = False

    def is_meant_by(self, event: Event) -> bool:
        """Whether it is the one whose end is told. number: tells it from others, where known."""
        if self.number is not None and "call" in event:
            return bool(event["call"] == self.number)
        return self.attempt in (event.get("attempt"), None)


@dataclass(slots=True, eq=False)
class _Order:
    """The first fields are what Redis has, which a rollback undoes; the others stay.

    copies, unsure: how many entries were enqueued, for certain and perhaps. failures: as Redis must
    have recorded, at the least. wish: what an operator has asked for that has not taken effect,
    "hold" or "cancel", "" for nothing; asked: when that was last; released: since it was held.
    reset: the line from which failures and incidents count. moved: when it last had another status.
    begun: by whom, and as which attempt.
    """

    id: str
    copies: int = 0
    unsure: int = 0
    invalid: int = 0
    status: str = ""
    hold: _Hold | None = None
    failures: int = 0
    reset: int = 0
    retried: bool = False
    wish: str = ""
    asked: float = float("-inf")
    released: bool = False
    key: str | None = None
    moved: float = float("-inf")
    calls: list[_Call] = field(default_factory=list)
    running: list[_Call] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    holds: dict[str | None, _Hold] = field(default_factory=dict)
    begun: set[tuple[str | None, int | None]] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class _Queue:
    """Counts of what Redis has; undo: (time, object, attribute, value before) of each change.

    disturbed: the last line that may be why an order of before doesn't start soon.
    """

    name: str
    sure: int = 0
    unsure: int = 0
    fulfilled: int = 0
    dead: int = 0
    dropped: int = 0
    orders: dict[str, _Order] = field(default_factory=dict)
    undo: list[tuple[float, Any, str, Any]] = field(default_factory=list)
    places: Event | None = None
    is_wrong: bool = False
    is_paused: bool = False
    waiting_since: float | None = None
    is_slow: bool = False
    renewed: float = float("-inf")
    disturbed: int = 0
    limits: Limits | None = None
    starts: Starts = field(default_factory=Starts)


@dataclass(slots=True, eq=False)
class _Worker:
    """names: by queue, under which it holds orders now. heard, gaps: by queue and name.

    heard: when Redis took up its last exchange. gaps: how long before that the exchange before was.
    free_since: since when it has had room without a break. queues: those it serves, if told.
    """

    name: str
    lease: float
    is_up: bool = True
    is_stopped: bool = False
    is_draining: bool = False
    ended_at: float = float("-inf")
    ended_line: int = 0
    queues: list[str] | None = None
    names: dict[str, str] = field(default_factory=dict)
    heard: dict[tuple[str, str | None], float] = field(default_factory=dict)
    gaps: dict[tuple[str, str | None], float] = field(default_factory=dict)
    nameless: list[tuple[str, _Hold]] = field(default_factory=list)
    running: dict[_Call, _Order] = field(default_factory=dict)
    free: int = 0
    free_since: float | None = None
    exchanges: deque[float] = field(default_factory=deque)
    deeds: deque[float] = field(default_factory=deque)


class Checker:
    """Takes the events of one history in their order. violations: what is broken so far.

    slack: seconds by which a lease may end early, since clocks are read in milliseconds and may be
    stepped. prompt: seconds in which an order must be claimed and start, once all has been calm for
    a lease and `settling` seconds. exchanges, exchanges_each: how many exchanges of one worker in a
    second are fine: so many, a tenth more for each further queue, since each connects by itself,
    and so many more for each line that tells of its work in that second.
    """

    def __init__(
        self,
        *,
        slack: float = 0.05,
        prompt: float = 2.0,
        settling: float = 3.0,
        exchanges: int = 100,
        exchanges_each: int = 10,
    ) -> None:
        self.violations: list[Violation] = []
        self._slack = slack
        self._prompt = prompt
        self._settling = settling
        self._exchanges = exchanges
        self._exchanges_each = exchanges_each
        self._lease = 10.0
        self._max_attempts: int | None = None
        self._max_orphanings: int | None = None
        self._order_timeout = float("inf")
        self._tells_renewals = self._is_merged = False
        # What was fulfilled before the end of its call was told, where that may be.
        self._unjustified: list[tuple[_Order, str]] = []
        self._t = 0.0
        self._line = 0
        self._queues: dict[str, _Queue] = {}
        self._workers: dict[str, _Worker] = {}
        self._incidents: list[int] = []
        self._fresh: deque[tuple[float, int, _Queue, _Order]] = deque()
        self._calm_since: float | None = None
        self._has_ended = False
        self._moves = {
            "processing": self._begin,
            "fulfilled": self._check_fulfilled,
            "retrying": self._leave,
            "dead": self._leave,
            "held": self._leave,
            "cancelled": self._leave,
        }
        self._takers: dict[str, Callable[[Event], None]] = {
            name.removeprefix("_on_"): getattr(self, name)
            for name in dir(self)
            if name.startswith("_on_")
        }

    def feed(self, event: Event) -> None:
        """Take the next event."""
        self._line += 1
        self._t = t = event.get("t", self._t)
        while self._fresh and self._fresh[0][0] + self._prompt < t:
            self._check_started(*self._fresh.popleft())
        take = self._takers.get(event["event"])
        if take:
            take(event)

    def finish(self) -> list[Violation]:
        """All violations, once nothing more comes."""
        self._check_idle()
        for order, what in self._unjustified:
            if all(call.how != "success" for call in order.calls):
                self._break("justified", what, order)
        self._unjustified.clear()
        return self.violations

    def _break(self, rule: str, what: str, order: _Order | None = None) -> None:
        self.violations.append(Violation(rule, self._t, what, order.id if order else None))

    # --- what is known ------------------------------------------------------------------------

    def _queue(self, event: Event) -> _Queue:
        name = event.get("queue", "")
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = _Queue(name)
        return queue

    def _order(self, queue: _Queue, order_id: Any) -> _Order | None:
        """None for what is no order."""
        if not isinstance(order_id, str):
            return None
        order = queue.orders.get(order_id)
        if order is None:
            order = queue.orders[order_id] = _Order(order_id)
        return order

    def _worker(self, name: str) -> _Worker:
        worker = self._workers.get(name)
        if worker is None:
            worker = self._workers[name] = _Worker(name, self._lease)
        return worker

    def _set(self, queue: _Queue, thing: Any, attribute: str, value: Any) -> None:
        """Change what Redis has."""
        queue.undo.append((self._t, thing, attribute, getattr(thing, attribute)))
        setattr(thing, attribute, value)

    def _add(self, queue: _Queue, thing: Any, attribute: str, many: int = 1) -> None:
        self._set(queue, thing, attribute, getattr(thing, attribute) + many)

    def _on_rules(self, event: Event) -> None:
        self._lease = event.get("lease", self._lease)
        self._max_attempts = event.get("max_attempts")
        self._max_orphanings = event.get("max_orphanings")
        self._order_timeout = event.get("order_timeout") or float("inf")
        self._tells_renewals = event.get("renewals", False)
        self._is_merged = event.get("merged", False)

    # --- the places ---------------------------------------------------------------------------

    def _on_enqueued(self, event: Event) -> None:
        queue, unsure = self._queue(event), bool(event.get("unsure"))
        self._add(queue, queue, "unsure" if unsure else "sure")
        order = self._order(queue, event.get("order"))
        if order is None:
            return
        order.key = event.get("key", order.key)
        if not order.copies and not order.unsure:
            self._set(queue, order, "reset", self._line)
            is_prompt = not unsure and not order.status and self._is_calm(queue)
            if order.key is not None or (is_prompt and self._has_room(queue)):
                self._fresh.append((self._t, self._line, queue, order))
        self._add(queue, order, "unsure" if unsure else "copies")
        if event.get("invalid"):
            self._add(queue, order, "invalid")

    def _on_limited(self, event: Event) -> None:
        self._check_idle()
        queue = self._queue(event)
        self._set(queue, queue, "limits", Limits.of(event))
        queue.starts = Starts()
        queue.disturbed = self._line
        if queue.waiting_since is not None:
            queue.waiting_since = self._t

    def _on_deleted(self, event: Event) -> None:
        queue = self._queue(event)
        for order_id in event["orders"]:
            self._add(queue, queue, "sure", -1)
            order = self._order(queue, order_id)
            if order is not None:
                self._add(queue, order, "copies", -1)
        queue.disturbed = self._line

    def _on_retried(self, event: Event) -> None:
        queue = self._queue(event)
        self._add(queue, queue, "dead", -1)
        order = self._order(queue, event.get("order"))
        if order is None:
            return
        self._set(queue, order, "retried", True)
        self._set(queue, order, "failures", 0)
        if order.copies + order.unsure <= 1:
            self._set(queue, order, "reset", self._line)

    def _on_dropped(self, event: Event) -> None:
        queue = self._queue(event)
        self._add(queue, queue, "dead", -1)
        self._add(queue, queue, "dropped")

    def _on_asked(self, event: Event) -> None:
        queue, act = self._queue(event), event["act"]
        self._add(queue, queue, "dead", -event.get("dead", 0))
        queue.disturbed = self._line
        order = self._order(queue, event.get("order"))
        if order is None:
            return
        self._set(queue, order, "asked", self._t)
        if act == "release":
            self._set(queue, order, "released", True)
        self._set(queue, order, "wish", "" if act == "release" else act)

    def _on_rolled_back(self, event: Event) -> None:
        queue, to = self._queue(event), event["to"]
        while queue.undo and queue.undo[-1][0] > to:
            _, thing, attribute, before = queue.undo.pop()
            setattr(thing, attribute, before)
        # By the data of before, those that have ended since hold orders, and are silent.
        many = sum(worker.ended_at > to for worker in self._workers.values())
        self._incidents += [self._line] * many
        queue.renewed = self._t
        queue.starts = Starts()
        queue.places, queue.waiting_since, queue.is_wrong = None, None, False
        queue.disturbed = self._line

    def _on_renewed(self, event: Event) -> None:
        self._queue(event).renewed = self._t

    def _on_places(self, event: Event) -> None:
        queue = self._queue(event)
        was, waits = queue.waiting_since is not None, event["waiting"] > 0
        if was != waits:
            self._check_idle()
            queue.waiting_since = self._t if waits else None
            queue.is_slow = False
        elif waits and self._t - (queue.waiting_since or 0.0) > self._prompt:
            self._check_idle(queue)
        queue.places = event
        wrong = self._wrong_places(queue, event)
        if wrong and not queue.is_wrong:
            self._break(*wrong)
        queue.is_wrong = wrong is not None

    def _wrong_places(self, queue: _Queue, event: Event) -> tuple[str, str] | None:
        there = sum(event[place] for place in _PLACES)
        there += sum(event.get(place, 0) for place in _LATER_PLACES)
        if not queue.sure <= there <= queue.sure + queue.unsure:
            most = f" to {queue.sure + queue.unsure}" if queue.unsure else ""
            told = ", ".join(f"{event[place]} {place}" for place in _PLACES)
            rule = "kept" if there < queue.sure else "balanced"
            what = f"{queue.sure}{most} orders of {queue.name} were enqueued, and {there} are there"
            return rule, f"{what}: {told}"
        for place in ("dead", "fulfilled", "dropped"):
            if event[place] != getattr(queue, place):
                what = f"{queue.name} has {event[place]} orders {place}"
                return "balanced", f"{what}, and {getattr(queue, place)} became so"
        return None

    # --- statuses -----------------------------------------------------------------------------

    def _on_status(self, event: Event) -> None:
        queue = self._queue(event)
        order, status = self._order(queue, event.get("order")), event["status"]
        worker = self._workers.get(event.get("worker") or "")
        if worker:
            worker.deeds.append(self._t)
        if status in _ENDED:
            self._add(queue, queue, status)
        if order is None:
            return
        order.moved = self._t
        if order.copies + order.unsure <= 0:
            self._break(
                "kept", f"{self._name(queue, order)} is {status}, and nobody enqueued it", order
            )
        if order.status in _FINAL:
            again = " again" if status == order.status else ""
            what = f"{self._name(queue, order)} is {status}{again} after it was {order.status}"
            self._break("final", what, order)
            return
        self._check_obeyed(queue, order, status)
        move = self._moves.get(status)
        if move:
            move(queue, order, event, worker)
        self._set(queue, order, "status", status)

    def _check_obeyed(self, queue: _Queue, order: _Order, status: str) -> None:
        """Whether it is as an operator wishes. A wish is over when it has taken effect."""
        said = f"{self._name(queue, order)} is {status}"
        if order.status == "held" and status not in _WITHDRAWN and not order.released:
            self._break("obeyed", f"{said}, though it was held and nobody released it", order)
        if order.wish and status == "processing":
            what = f"{said}, and since {order.asked:.3f} an operator wants to {order.wish} it"
            self._break("obeyed", what, order)
        if status == "held":
            self._set(queue, order, "released", False)
        if order.wish and (status in _WITHDRAWN or status == "fulfilled"):
            self._set(queue, order, "wish", "")

    def _begin(self, queue: _Queue, order: _Order, event: Event, worker: _Worker | None) -> None:
        attempt, hold = event.get("attempt"), order.hold
        by = worker.name if worker else None  # Who is no worker has only looked on.
        single = order.copies + order.unsure <= 1
        if order.status == "dead" and single and not order.retried:
            what = f"{self._name(queue, order)} is begun, though it was dead and nobody retried it"
            self._break("final", what, order)
        self._check_attempt(queue, order, attempt)
        self._check_running(queue, order, by)
        self._note_late_claim(order, worker)
        if hold and hold.worker == by and hold.attempt == attempt:
            # Begun again, after a reply was lost. What has ended by now was undone since.
            self._set(queue, hold, "limits", queue.limits)
            for call in order.calls:
                if call.hold is hold and (call.end is not None or self._is_late(call)):
                    call.hold = None
            self._note_name(queue, hold, worker, event.get("name"))
            return
        # One that it has not started may have been given back without a word; so may one that had
        # ended before Redis forgot that.
        started = hold and any(
            call.hold is hold and (call.end is None or call.end > queue.renewed)
            for call in order.calls
        )
        if hold and started and not self._is_lost(queue, hold):
            what = f"{self._name(queue, order)} is begun by {by}"
            self._break("owned once", f"{what}, though {self._holder(queue, hold)}", order)
        for other in order.holds.values():
            if not other.over:
                kept = other is hold and not started and not self._is_lost(queue, hold)
                self._set(queue, other, "over", "own" if kept else "taken")
        new = _Hold(by, None, attempt, self._t, limits=queue.limits)
        self._check_rate(queue, order)
        order.begun.add((by, attempt))
        order.holds[by] = new
        self._set(queue, order, "hold", new)
        self._note_name(queue, new, worker, event.get("name"))

    def _check_rate(self, queue: _Queue, order: _Order) -> None:
        """While all is calm: a step of Redis's clock may let some more start."""
        if queue.limits is None or self._calm_since is None:
            return
        if exceeded := queue.starts.exceeds(self._t, order.key, queue.limits):
            what = f"{self._name(queue, order)} is begun, and exceeds {exceeded}"
            self._break("limited", what, order)

    def _note_name(
        self, queue: _Queue, hold: _Hold, worker: _Worker | None, name: str | None
    ) -> None:
        """Under which name the worker holds it, which its next heartbeat tells if none did now."""
        if name:
            hold.name = name
        elif worker:
            hold.name = worker.names.get(queue.name)
            if worker.heard.get((queue.name, hold.name)) != self._t:
                worker.nameless.append((queue.name, hold))

    def _check_attempt(self, queue: _Queue, order: _Order, attempt: int | None) -> None:
        if attempt is None:
            return
        most = 1 + self._failed(order)
        if attempt > most:
            what = f"{self._name(queue, order)} is at attempt {attempt}"
            self._break("blameless", f"{what}, and failed {most - 1} times", order)
        elif attempt <= order.failures and order.copies + order.unsure <= 1:
            what = f"{self._name(queue, order)} is at attempt {attempt}"
            self._break("blameless", f"{what}, though {order.failures} attempts failed", order)

    def _failed(self, order: _Order) -> int:
        """How many attempts may have failed since the order began anew, at the most."""
        ended = len(order.failed) - bisect_right(order.failed, order.reset)
        return ended + sum(self._is_late(call) for call in order.running)

    def _is_late(self, call: _Call) -> bool:
        """Whether it has used up the time for an attempt."""
        until = self._t if call.end is None else call.end
        return until - call.t >= self._order_timeout - self._slack

    def _check_running(self, queue: _Queue, order: _Order, by: str | None) -> None:
        for call in order.running:
            if call.given_back:
                call.given_back = False
                what = f"{self._name(queue, order)} is begun by {by}, while it still runs in"
                what += f" {call.worker} since {call.t:.3f}, which gave it back in between"
                self._break("owned once", what, order)

    def _check_fulfilled(
        self, queue: _Queue, order: _Order, event: Event, worker: _Worker | None
    ) -> None:
        by, attempt = event.get("worker"), event.get("attempt")
        self._check_own(queue, order, event, worker)
        good = [
            call
            for call in order.calls
            if call.how == "success"
            and (worker is None or call.worker == by)
            and (attempt is None or call.attempt in (attempt, None))
        ]
        if not good:
            what = f"{self._name(queue, order)} is fulfilled by {by} at attempt {attempt}"
            what += ", and no such call of its handler succeeded"
            if self._is_merged:
                self._unjustified.append((order, what))
            else:
                self._break("justified", what, order)
        self._end_hold(queue, order, "own")

    def _check_own(
        self, queue: _Queue, order: _Order, event: Event, worker: _Worker | None
    ) -> None:
        """A result may come of the worker that has the order, and only within its lease."""
        if worker is None:
            return
        hold, said = order.hold, f"{self._name(queue, order)} is {event['status']}"
        if hold is None:
            # Claimed before the moment to which Redis was rolled back, and begun after it.
            hold = order.holds.get(worker.name)
            hold = None if hold is None or hold.over else hold
        if hold is None or hold.worker not in (worker.name, None):
            holder = self._holder(queue, hold) if hold else "nobody has it"
            self._break("owned once", f"{said} by {worker.name}, though {holder}", order)
            return
        gap = worker.gaps.get((queue.name, hold.name), 0.0)
        heard = worker.heard.get((queue.name, hold.name), self._t)
        renewed = queue.renewed >= heard - gap
        if self._tells_renewals and not renewed and gap > worker.lease + self._slack:
            what = f"{said} by {worker.name}, which had not been heard for {gap:.3f} s"
            self._break("owned once", f"{what}, longer than its lease", order)

    def _leave(self, queue: _Queue, order: _Order, event: Event, worker: _Worker | None) -> None:
        hold, status, reason = order.hold, event["status"], event.get("reason")
        if status == "dead":
            self._check_dead(queue, order, event, worker)
            self._set(queue, order, "retried", False)
        if hold is None:
            if order.status == "dead" and worker and not order.retried and order.copies <= 1:
                what = f"{self._name(queue, order)} is {status} by {worker.name}"
                self._break("final", f"{what}, though it was dead and nobody retried it", order)
            return
        if self._is_own(hold, event.get("worker"), worker) and reason != "orphaned":
            self._give_back(queue, order, hold, event)
            self._end_hold(queue, order, "own")
            return
        if not self._is_lost(queue, hold) and (worker or self._is_busy(order, hold)):
            what = f"{self._name(queue, order)} is {status} by {event.get('worker')}"
            self._break("owned once", f"{what}, though {self._holder(queue, hold)}", order)
        self._end_hold(queue, order, "taken")

    @staticmethod
    def _is_own(hold: _Hold, by: str | None, worker: _Worker | None) -> bool:
        return worker is not None and hold.worker in (by, None)

    def _is_busy(self, order: _Order, hold: _Hold) -> bool:
        """Whether a call goes on that nobody cut short."""
        holder = self._workers.get(hold.worker or "")
        if holder and holder.is_draining:
            return False
        return any(call.hold is hold and not self._is_late(call) for call in order.running)

    def _give_back(self, queue: _Queue, order: _Order, hold: _Hold, event: Event) -> None:
        """The holder says so, or reaps what it held under its last name."""
        holder = self._workers.get(hold.worker or "")
        is_cut = self._is_lost(queue, hold) or (holder and holder.is_draining)
        for call in order.running:
            if call.hold is hold and not is_cut and not self._is_late(call):
                call.given_back = True
        last = next((call for call in reversed(order.calls) if call.hold is hold), None)
        single = order.copies + order.unsure <= 1
        # One that an operator had stopped is no failure, whatever the handler made of it.
        is_cut = is_cut or (last is not None and order.asked >= last.t)
        if last and last.how in _FAILING and single and not is_cut and last.attempt is not None:
            # A failure is told once. If Redis has forgotten it, its worker may have, too: it gives
            # the order back as one that it never started.
            if not last.failure_told:
                self._set(queue, order, "failures", last.attempt)
            last.failure_told = True

    def _end_hold(self, queue: _Queue, order: _Order, how: str) -> None:
        if order.hold:
            self._set(queue, order.hold, "over", how)
            self._set(queue, order, "hold", None)

    def _check_dead(
        self, queue: _Queue, order: _Order, event: Event, worker: _Worker | None
    ) -> None:
        reason, said = event.get("reason"), f"{self._name(queue, order)} is dead"
        if reason == "attempts_exhausted":
            self._check_own(queue, order, event, worker)
            failed = self._failed(order)
            if self._max_attempts and failed < self._max_attempts:
                what = f"{said} of {self._max_attempts} failed attempts, and {failed} failed"
                self._break("blameless", what, order)
        elif reason == "rejected":
            self._check_own(queue, order, event, worker)
            if not any(call.how == "rejected" for call in order.calls):
                self._break("blameless", f"{said} as rejected, and no handler rejected it", order)
        elif reason == "orphaned":
            many = self._count_incidents(order)
            # Who puts a history together from what is left behind doesn't see each lease run out.
            if self._max_orphanings and many < self._max_orphanings and not self._is_merged:
                what = f"{said} as orphaned, and since it came only {many} workers died"
                self._break("blameless", f"{what}, or were not heard for a lease", order)
        elif reason and not order.invalid:
            self._break("blameless", f"{said} as {reason}, though it is a good order", order)

    def _note_late_claim(self, order: _Order, worker: _Worker | None) -> None:
        """One that had asked for orders before it ended: Redis takes it for one that lives."""
        if worker and not worker.is_up and worker.ended_line <= order.reset:
            self._incidents.append(self._line)

    def _count_incidents(self, order: _Order) -> int:
        silent = sum(map(self._is_silent, self._workers.values()))
        return silent + len(self._incidents) - bisect_right(self._incidents, order.reset)

    def _is_silent(self, worker: _Worker) -> bool:
        heard = (worker.heard[key] for key in worker.names.items() if key in worker.heard)
        return worker.is_up and any(self._t - at > worker.lease for at in heard)

    # --- leases -------------------------------------------------------------------------------

    def _on_heard(self, event: Event) -> None:
        worker, queue = self._worker(event["worker"]), event.get("queue", "")
        name = event.get("name")
        if name is not None:
            self._rename(worker, queue, name)
        for of, hold in worker.nameless:
            if of == queue:
                hold.name = name
        worker.nameless = [told for told in worker.nameless if told[0] != queue]
        before = worker.heard.get((queue, name), self._t)
        worker.gaps[queue, name] = self._t - before
        if self._t - before > worker.lease:
            self._incidents.append(self._line)
        worker.heard[queue, name] = self._t

    def _rename(self, worker: _Worker, queue: str, name: str) -> None:
        """It may have lost the orders that it held under another name until now."""
        old = worker.names.get(queue, name)
        worker.names[queue] = name
        if old != name:
            self._incidents.append(self._line)
            if worker.heard.get((queue, old)) == self._t:  # Nobody is heard under two names.
                worker.heard[queue, old] -= worker.gaps[queue, old]

    def _last_heard(self, queue: _Queue, hold: _Hold) -> float:
        worker = self._workers.get(hold.worker or "")
        return max(hold.t, worker.heard.get((queue.name, hold.name), hold.t)) if worker else hold.t

    def _is_lost(self, queue: _Queue, hold: _Hold) -> bool:
        """Whether nobody has the order any more: its holder is gone, or its lease is over."""
        worker = self._workers.get(hold.worker or "")
        if worker is None or not worker.is_up:
            return True
        return self._t - self._last_heard(queue, hold) >= worker.lease - self._slack

    def _holder(self, queue: _Queue, hold: _Hold) -> str:
        heard = self._last_heard(queue, hold)
        return f"{hold.worker} has it since {hold.t:.3f} and was heard at {heard:.3f}"

    @staticmethod
    def _name(queue: _Queue, order: _Order) -> str:
        return f"{order.id} of {queue.name}"

    # --- calls of the handler -----------------------------------------------------------------

    def _on_started(self, event: Event) -> None:
        queue, worker = self._queue(event), self._worker(event["worker"])
        worker.deeds.append(self._t)
        order = self._order(queue, event.get("order"))
        if order is None:
            return
        attempt = event.get("attempt")
        call = _Call(worker.name, None, attempt, self._t, event.get("call"))
        call.hold = self._leave_to_start(queue, order, worker, attempt)
        self._check_running(queue, order, worker.name)
        for other in order.running:
            if call.hold and other.hold is call.hold:
                what = f"{self._name(queue, order)} is started by {worker.name}"
                self._break(
                    "owned once", f"{what}, which runs it since {other.t:.3f} already", order
                )
        self._check_limits(queue, order, call)
        order.calls.append(call)
        order.running.append(call)
        worker.running[call] = order

    def _check_limits(self, queue: _Queue, order: _Order, call: _Call) -> None:
        """Whether so many may run at once. One that nobody has any more doesn't count."""
        limits = call.hold.limits if call.hold and not call.hold.over else None
        if limits is None:
            return
        running = [
            other
            for worker in self._workers.values()
            for each, other in worker.running.items()
            if other is queue.orders.get(other.id)
            and each.hold is not None
            and each.hold is other.hold  # a rollback may have undone it
            and not (each.hold.over or self._is_lost(queue, each.hold))
        ]
        same = [other for other in running if other.key == order.key is not None]
        for many, most, what in (
            (1 + len(running), limits.in_flight, "are in flight"),
            (1 + len(same), limits.at_once, f"of the key {order.key} run"),
        ):
            if most is not None and many > most:
                said = f"{self._name(queue, order)} is started, and {many} orders {what}"
                self._break("limited", f"{said}, of {most} that may", order)

    def _leave_to_start(
        self, queue: _Queue, order: _Order, worker: _Worker, attempt: int | None
    ) -> _Hold | None:
        """What allows this worker to start the order; None where nothing does."""
        said = f"{self._name(queue, order)} is started by {worker.name}"
        hold = order.hold
        if hold and hold.worker is None:
            hold.worker = worker.name
            order.holds[worker.name] = hold
        if hold is None or hold.worker != worker.name:
            return self._late_start(queue, order, worker, said)
        if worker.names.get(queue.name, hold.name) != hold.name and hold.name is not None:
            self._break("owned once", f"{said}, which had lost it, and had a new name since", order)
        # A begin that was undone since still has its answer.
        undone = queue.renewed > hold.t and (worker.name, attempt) in order.begun
        if None not in (attempt, hold.attempt) and attempt != hold.attempt and not undone:
            self._break("blameless", f"{said} as attempt {attempt}, not {hold.attempt}", order)
        return hold

    def _late_start(self, queue: _Queue, order: _Order, worker: _Worker, said: str) -> _Hold | None:
        """Fine if it was taken from it, or undone, and it can't know of that."""
        last = order.holds.get(worker.name) or order.holds.get(None)
        rule = "final" if order.status in _FINAL else "owned once"
        state = f"though it is {order.status or 'not begun'}"
        if last is None:
            self._break(rule, f"{said}, {state} and was never given to it", order)
        elif last.over == "own":
            self._break(rule, f"{said}, {state} and was given back by it", order)
        elif worker.names.get(queue.name, last.name) != last.name and last.name is not None:
            self._break(rule, f"{said}, {state} and it has a new name since it lost it", order)
        return last

    def _on_ended(self, event: Event) -> None:
        queue, worker = self._queue(event), self._worker(event["worker"])
        worker.deeds.append(self._t)
        order = self._order(queue, event.get("order"))
        if order is None:
            return
        for call in order.running:
            if call.worker == worker.name and call.is_meant_by(event):
                call.end, call.how = self._t, event["how"]
                order.running.remove(call)
                worker.running.pop(call, None)
                if call.how in _FAILING or self._is_late(call):
                    order.failed.append(self._line)
                return

    # --- processes ----------------------------------------------------------------------------

    def _on_up(self, event: Event) -> None:
        worker = self._workers.get(event["worker"])
        if worker is None or not worker.is_up:
            worker = self._workers[event["worker"]] = _Worker(event["worker"], self._lease)
        worker.lease = event.get("lease", self._lease)
        worker.queues = event.get("queues")

    def _on_died(self, event: Event) -> None:
        self._incidents.append(self._line)
        self._gone(event)

    def _on_drained(self, event: Event) -> None:
        worker = self._worker(event["worker"])
        # It held orders to its end, or it lost them before, and never came back for them.
        if self._holds(worker) or self._is_silent(worker):
            self._incidents.append(self._line)
        self._gone(event)

    def _holds(self, worker: _Worker) -> bool:
        """Whether an order is in flight with it, maybe without its knowledge: it heard no reply."""
        holds = (order.hold for queue in self._queues.values() for order in queue.orders.values())
        return any(hold and not hold.over and hold.worker == worker.name for hold in holds)

    def _gone(self, event: Event) -> None:
        self._disturb()
        worker = self._worker(event["worker"])
        worker.is_up, worker.free_since, worker.ended_at = False, None, self._t
        worker.ended_line = self._line
        for call, order in worker.running.items():
            call.end, call.how = self._t, "died"
            order.running.remove(call)
            if self._is_late(call):
                order.failed.append(self._line)
        worker.running.clear()

    def _on_released(self, event: Event) -> None:
        self._gone(event)

    def _on_draining(self, event: Event) -> None:
        self._check_idle()
        worker = self._worker(event["worker"])
        worker.is_draining, worker.free_since = True, None

    def _on_stopped(self, event: Event) -> None:
        self._disturb()
        worker = self._worker(event["worker"])
        worker.is_stopped, worker.free_since = True, None

    def _on_continued(self, event: Event) -> None:
        worker = self._worker(event["worker"])
        worker.is_stopped = False
        self._note_room(worker)

    # --- live ---------------------------------------------------------------------------------

    def _on_room(self, event: Event) -> None:
        worker = self._worker(event["worker"])
        worker.free = event["free"]
        if (worker.free > 0) != (worker.free_since is not None):
            self._check_idle()
            self._note_room(worker)

    def _note_room(self, worker: _Worker) -> None:
        is_open = worker.is_up and not worker.is_stopped and not worker.is_draining
        worker.free_since = self._t if is_open and worker.free > 0 else None

    def _on_exchange(self, event: Event) -> None:
        worker = self._worker(event["worker"])
        exchanges, since = worker.exchanges, self._t - 1.0
        exchanges.append(self._t)
        while exchanges[0] <= since:
            exchanges.popleft()
        most = self._exchanges * (9 + max(1, len(worker.queues or ()))) // 10
        if len(exchanges) <= most:
            return
        while worker.deeds and worker.deeds[0] <= since:
            worker.deeds.popleft()
        deeds = len(worker.deeds)
        if len(exchanges) > most + self._exchanges_each * deeds:
            what = f"{worker.name} sent {len(exchanges)} exchanges within a second"
            self._break("live", f"{what}, in which {deeds} lines tell of its work")
            exchanges.clear()

    def _on_fault(self, event: Event) -> None:
        self._disturb()
        for queue in self._queues.values():
            queue.starts = Starts()
        self._calm_since = None

    def _on_calm(self, event: Event) -> None:
        self._calm_since = self._t

    def _on_paused(self, event: Event) -> None:
        self._check_idle()
        queue = self._queue(event)
        self._set(queue, queue, "is_paused", True)
        queue.disturbed = self._line

    def _on_resumed(self, event: Event) -> None:
        queue = self._queue(event)
        self._set(queue, queue, "is_paused", False)
        if queue.waiting_since is not None:
            queue.waiting_since = self._t

    def _disturb(self) -> None:
        """Something happens that takes a while to settle."""
        self._check_idle()
        if self._calm_since is not None:
            self._calm_since = self._t
        for queue in self._queues.values():
            queue.disturbed = self._line

    @property
    def _settled(self) -> float:
        """From when on all must be prompt."""
        if self._calm_since is None:
            return float("inf")
        return self._calm_since + self._lease + self._settling

    def _is_calm(self, queue: _Queue) -> bool:
        return self._t >= self._settled and not queue.is_paused

    def _with_room(self, queue: _Queue) -> Iterable[_Worker]:
        """Workers that could take more orders of it."""
        for worker in self._workers.values():
            if worker.free_since is not None and queue.name in (worker.queues or (queue.name,)):
                yield worker

    def _has_room(self, queue: _Queue) -> bool:
        return any(True for _ in self._with_room(queue))

    def _check_idle(self, only: _Queue | None = None) -> None:
        """Whether orders wait for longer than is prompt, while one worker has room all the time."""
        for queue in (only,) if only else self._queues.values():
            since = queue.waiting_since
            if since is None or queue.is_paused or queue.is_slow:
                continue
            if queue.limits and queue.limits.hold_up_all:
                continue
            for worker in self._with_room(queue):
                began = max(since, worker.free_since or 0.0, self._settled)
                if self._t - began > self._prompt:
                    queue.is_slow = True
                    what = f"orders of {queue.name} wait since {began:.3f} at the latest"
                    self._break("live", f"{what}, while {worker.name} has room")
                    break

    def _check_started(self, since: float, line: int, queue: _Queue, order: _Order) -> None:
        """Whether what was enqueued in calm has started, if a worker had room all the time."""
        is_over = order.status in (*_ENDED, *_WITHDRAWN) or order.wish
        if order.calls or is_over or order.copies <= 0:
            return
        if queue.limits and queue.limits.hold_up_all:
            return
        if self._may_wait_on(queue, order, since) or queue.disturbed > line:
            return
        for worker in self._with_room(queue):
            if (worker.free_since or 0.0) <= since:
                what = f"{self._name(queue, order)} was enqueued at {since:.3f}"
                self._break("live", f"{what}, has not started, and {worker.name} has room", order)
                return

    def _waits_for_key(self, queue: _Queue, order: _Order) -> bool:
        """Whether others of its key are there, for which it may have to wait."""
        return (
            queue.limits is not None
            and order.key is not None
            and any(
                other.key == order.key
                and other is not order
                and other.status not in (*_ENDED, *_FINAL)
                for other in queue.orders.values()
            )
        )

    def _may_wait_on(self, queue: _Queue, order: _Order, since: float) -> bool:
        """Whether others of its key are at work, or all is not calm: it is looked at again."""
        is_calm = order.key is None or self._is_calm(queue)
        waits = self._waits_for_key(queue, order)
        if waits or not is_calm:
            self._fresh.append((self._t, self._line, queue, order))
        return not is_calm or (waits and self._is_key_at_work(queue, order, since))

    def _is_key_at_work(self, queue: _Queue, order: _Order, since: float) -> bool:
        """Whether an order of the same key is held, or something became of one."""
        return any(
            other.moved >= since or (other.hold and not self._is_lost(queue, other.hold))
            for other in queue.orders.values()
            if other.key == order.key
        )

    def _on_end(self, event: Event) -> None:
        self._check_idle()
        for queue in self._queues.values():
            if queue.is_paused:
                continue
            places = queue.places or {}
            left = {p: places[p] for p in (*_UNDER_WAY, "held") if places.get(p)}
            if left:
                told = ", ".join(f"{many} {place}" for place, many in left.items())
                self._break("live", f"{queue.name} still has {told} at the end")
            for order in queue.orders.values():
                if order.status in (*_ENDED, *_FINAL) or not (order.copies > 0 or order.status):
                    continue
                state = order.status or "nothing"
                what = f"{self._name(queue, order)} is {state} at the end"
                rule = "live" if left else "kept"
                self._break(rule, f"{what}, and neither fulfilled, dead nor cancelled", order)


def check(lines: Iterable[str]) -> list[Violation]:
    """What is broken in a history."""
    checker = Checker()
    for line in lines:
        if line.strip():
            checker.feed(json.loads(line))
    return checker.finish()


def main(arguments: list[str]) -> int:
    """1 if the history in the file that is named breaks a rule."""
    if len(arguments) != 1:
        print("usage: python -m tests.simulation.checker FILE", file=sys.stderr)
        return 2
    with Path(arguments[0]).open(encoding="utf-8") as lines:
        violations = check(lines)
    for violation in violations:
        print(violation)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
