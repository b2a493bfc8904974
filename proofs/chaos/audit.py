"""The audit of one round: what the independent record says against what Redis says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations, pairwise

from proofs.chaos.fleet import GRACE, LEASE
from proofs.chaos.ground import Ground, Injected
from proofs.chaos.handler_faults import POISONS
from proofs.chaos.history import SLACK, History
from proofs.chaos.load import Placed
from proofs.chaos.record import Call
from proofs.chaos.seen import Seen, look
from proofs.chaos.witness import Witness
from tests.simulation.checker import Checker
from tests.support.orders import Books, books

_UNREPLICATED = 1.0
"""Seconds before the death of a primary whose writes a replica may not have."""
_LATE = 6.0
"""Seconds in which a worker that is cut off learns that its lease was lost."""


_DEAD = {"rubbish bytes": "invalid"} | dict.fromkeys(POISONS, "orphaned")
"""The reason for which orders become dead letters, by what they do."""


@dataclass
class Findings:
    """What the audit found. The Counters are by the kind of the fault that came before.

    faults: texts, one for each thing that must not be. fenced: orders that ran beside a worker
    which was out of touch and lost its lease; unexplained: those where no fault kept it away.
    forgotten: orders that a FLUSHALL found on their way; they are not among those `placed`.
    """

    lost: Counter[str] = field(default_factory=Counter)
    two_owners: Counter[str] = field(default_factory=Counter)
    after_end: Counter[str] = field(default_factory=Counter)
    again: Counter[str] = field(default_factory=Counter)
    fenced: Counter[str] = field(default_factory=Counter)
    unexplained: int = 0
    placed: int = 0
    forgotten: int = 0
    fulfilled: int = 0
    dead: int = 0
    calls: int = 0
    faults: list[str] = field(default_factory=list)


class Audit:
    """Works on the evidence after all has come to rest."""

    def __init__(self, ground: Ground, witness: Witness, injected: list[Injected]) -> None:
        self.findings = Findings()
        self._ground = ground
        self._record = ground.record
        self._placed = ground.producer.placed
        self._settled = ground.producer.settled
        self._forgotten = ground.producer.forgotten
        self._injected = injected
        self._leases_lost = ground.fleet.leases_lost()
        died = {c.pid: c.end for c in self._record.calls if c.how == "died" and c.end}
        self._poisoned = died | self._record.died
        self._deaths = ground.fleet.deaths | self._poisoned
        self._after = look(ground.site, self._placed)
        self._seen = ground.before
        self._seen.add(self._after)
        self.history = History(ground, witness.told, injected, self._seen).lines()

    def run(self) -> Findings:
        """Check every rule."""
        found = self.findings
        for placed in (*self._placed.values(), *self._settled.values()):
            self._check_kept(placed)
        for order_id, calls in self._record.by_order.items():
            self._check_owners(order_id, calls)
            self._count_again(calls)
        self._check_history()
        self._check_books(books(self._ground.site))
        found.placed = _sure(self._placed) + _sure(self._settled)
        found.forgotten = _sure(self._forgotten)
        found.calls = len(self._record.calls)
        found.faults += self._ground.fleet.complaints
        found.faults += [f"no recovery from {f.kind}" for f in self._injected if f.recovery is None]
        return found

    # --- nothing is lost --------------------------------------------------------------------

    def _check_kept(self, placed: Placed) -> None:
        if not placed.sure:
            return
        wrong = self._what_is_wrong(placed)
        if wrong:
            calls = self._record.by_order.get(placed.order_id, [])
            last = calls[-1].start if calls else placed.at
            told = [(call.pid, round(call.start - placed.at, 2), call.how) for call in calls]
            text = f"{placed.order_id} ({placed.do}): {wrong}, after the calls {told}"
            self._blame(self.findings.lost, last, text)

    def _what_is_wrong(self, placed: Placed) -> str:
        """Whether it ended otherwise than it should; whether it ended, the history tells."""
        reasons = self._seen.dead.get(placed.raw, set())
        wanted = _DEAD.get(placed.do)
        if wanted:
            return "" if reasons == {wanted} else f"dead letters {reasons}, not {wanted}"
        status, _ = self._seen.statuses.get(placed.order_id, ("", ""))
        return f"its status is dead, dead letters {reasons}" if status == "dead" else ""

    # --- one owner --------------------------------------------------------------------------

    def _check_owners(self, order_id: str, calls: list[Call]) -> None:
        for first, second in combinations(calls, 2):
            if second.start >= self._end(first) or self._given_up(first, second.start):
                continue
            if not (self._fenced(first, second.start) or self._fenced(second, second.start)):
                text = f"{order_id} ran in {_told(first)} and {_told(second)} at once"
                self._blame(self.findings.two_owners, second.start, text)
                continue
            self.findings.fenced[self._kind_at(second.start)] += 1
            if not (self._muted(first, second.start) or self._muted(second, second.start)):
                self.findings.unexplained += 1

    def _given_up(self, call: Call, at: float) -> bool:
        """Whether it ran on in a thread after its worker's drain had given the order back."""
        fleet = self._ground.fleet
        return call.pid in fleet.plain and any(
            deed.what == "draining" and deed.pid == call.pid and deed.at + GRACE <= at
            for deed in fleet.deeds
        )

    def _end(self, call: Call) -> float:
        return call.end if call.end is not None else self._deaths.get(call.pid, float("inf"))

    def _fenced(self, call: Call, at: float) -> bool:
        """Whether its worker was told so while it ran, or was killed before it could be."""
        if self._may_be_forgotten(at):
            return True  # Redis didn't know any more whose it was.
        until = max(self._end(call), at) + _LATE
        lost = self._leases_lost.get(call.pid, [])
        if any(call.start - SLACK <= told <= until for told in lost):
            return True
        died = self._deaths.get(call.pid, float("inf"))
        soon_dead = any(died < max(at, fault.ended) + _LATE for fault in self._muting(call, at))
        return soon_dead and call.pid in self._ground.fleet.killed

    def _muted(self, call: Call, at: float) -> bool:
        return bool(self._muting(call, at))

    def _muting(self, call: Call, at: float) -> list[Injected]:
        """The faults that may have kept its worker from Redis then."""
        return [
            fault
            for fault in self._injected
            if call.slot in fault.mute and fault.began <= at <= fault.ended + _LATE
        ]

    def _may_be_forgotten(self, at: float) -> bool:
        return any(
            fault.forgetful and fault.began - _UNREPLICATED <= at <= fault.ended
            for fault in self._injected
        )

    def _count_again(self, calls: list[Call]) -> None:
        """Runs that an earlier one made unnecessary, had its end not been lost."""
        for earlier, call in pairwise(calls):
            if earlier.how != "raised" and not (earlier.how == "cut" and self._timed_out(earlier)):
                self.findings.again[self._cause(earlier, call)] += 1

    def _cause(self, earlier: Call, later: Call) -> str:
        """The kind of the fault that made a later run necessary."""
        if earlier.end is None or earlier.how == "died":
            if earlier.pid in self._poisoned:
                return self._poison(earlier.pid)
            return self._kind_at(self._deaths.get(earlier.pid, later.start))
        return self._kind_at(later.start)

    def _poison(self, pid: int) -> str:
        """The kind of fault whose order ended this process."""
        last = next((c for c in self._record.calls if c.pid == pid and c.how == "died"), None)
        return POISONS[self._do(last.order_id) if last else "decode"]

    def _timed_out(self, call: Call) -> bool:
        return self._do(call.order_id) == "hang" and call.attempt == 1

    def _do(self, order_id: str) -> str:
        where = (self._placed, self._settled, self._forgotten)
        return next(some[order_id].do for some in where if order_id in some)

    # --- the history --------------------------------------------------------------------------

    def _check_history(self) -> None:
        """What was lost, had two owners or came after its end, by the history of it all."""
        checker = Checker(slack=LEASE / 2)
        for line in self.history:
            checker.feed(line)
        counters = {
            "kept": self.findings.lost,
            "justified": self.findings.lost,
            "owned once": self.findings.two_owners,
            "final": self.findings.after_end,
        }
        for violation in checker.finish():
            counter = counters.get(violation.rule) if violation.order else None
            at, text = violation.t, f"{violation.rule}: {violation.what}"
            self._blame(counter if counter is not None else Counter(), at, text)

    # --- the books --------------------------------------------------------------------------

    def _check_books(self, now: Books) -> None:
        found = self.findings
        fulfilled = _fulfilled(self._after)
        found.fulfilled = _fulfilled(self._seen)
        found.dead = sum(len(reasons) for reasons in self._seen.dead.values())
        rules = {
            "unaccounted is 0": now.unaccounted == 0,
            "fulfilled is the number of fulfilled orders": now.fulfilled == fulfilled,
        }
        found.faults += [f"not so: {rule} ({now})" for rule, kept in rules.items() if not kept]

    # --- attribution ------------------------------------------------------------------------

    def _blame(self, counter: Counter[str], at: float, text: str) -> None:
        kind = self._kind_at(at)
        counter[kind] += 1
        self.findings.faults.append(f"{text} (after {kind})")

    def _kind_at(self, at: float) -> str:
        before = [fault.kind for fault in self._injected if fault.began <= at]
        return before[-1] if before else "(before the first)"


def _told(call: Call) -> str:
    end = "no end" if call.end is None else f"{call.end:.2f}"
    return f"{call.pid} ({call.start:.2f} to {end}, {call.how or 'cut off'})"


def _sure(orders: dict[str, Placed]) -> int:
    return sum(placed.sure > 0 for placed in orders.values())


def _fulfilled(seen: Seen) -> int:
    return sum(status == "fulfilled" for status, _ in seen.statuses.values())
