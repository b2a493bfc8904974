"""Where faults are injected: the servers, the workers and the load; and what a fault was."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from proofs.chaos.fleet import Fleet
from proofs.chaos.load import Producer
from proofs.chaos.record import Call, Record
from proofs.chaos.seen import Seen
from proofs.chaos.sites import Single, Site
from tests.support.eventually import PATIENCE, eventually
from tests.support.redis_server import RedisServer

_LONGEST_RECOVERY = PATIENCE


@dataclass
class Injected:
    """One fault that was injected. Times are monotonic seconds.

    slots: the workers that it touched; each must handle an order again. ids: orders that must
    be fulfilled. cut: calls that a kill cut off, whose orders must run again. mute: slots that it
    may have kept from Redis for longer than their lease. forgetful: whether Redis may have lost
    what it had acknowledged last. lost_at: until when it had that, or, if not forgetful, anything.
    """

    kind: str
    began: float
    ended: float = 0.0
    slots: set[int] = field(default_factory=set)
    ids: list[str] = field(default_factory=list)
    cut: list[Call] = field(default_factory=list)
    mute: set[int] = field(default_factory=set)
    forgetful: bool = False
    lost_at: float | None = None
    recovery: float | None = None


@dataclass(frozen=True)
class Ground:
    """What faults act on. before: what Redis said before it was made to forget all."""

    site: Site
    fleet: Fleet
    record: Record
    producer: Producer
    before: Seen = field(default_factory=Seen)

    @property
    def server(self) -> RedisServer:
        """The one and only, where there is one."""
        assert isinstance(self.site, Single)
        return self.site.server

    def step_clock(self, seconds: int) -> None:
        """Set the clock of Redis, so far from the true time."""
        assert isinstance(self.site, Single)
        self.site.clock.step(seconds)
        self.wait(lambda: self._is_out_by(seconds), "Redis's clock is set")

    def _is_out_by(self, seconds: int) -> bool:
        with self.server.client() as client:
            now, _ = client.time()
        return bool(abs(now - time.time() - seconds) < 10)

    def wait(self, seen: Callable[[], bool], what: str, deadline: float = PATIENCE) -> None:
        """Wait until it is so, while what dies is replaced; AssertionError after the deadline."""

        def look() -> bool:
            self.fleet.tend()
            self.record.refresh()
            return seen()

        eventually(look, deadline=deadline, what=what)

    def hold(self, seconds: float) -> None:
        """Let this much time pass: how long a fault lasts, or the pause before the next."""
        until = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() >= until, "time passes", seconds + PATIENCE)

    def has_recovered(self, fault: Injected) -> bool:
        """Whether what the fault cut off runs again, and its orders are fulfilled."""
        fine = {call.order_id for call in self.record.finished if call.how == "ok"}
        again = all(self._again(call) < float("inf") for call in fault.cut)
        return again and fine.issuperset(fault.ids)

    def await_recovery(self, fault: Injected) -> None:
        """Wait until all that the fault touched works again, and note how long that took."""
        since = self.record.finished_before(fault.began - 1)

        def recovered() -> bool:
            fault.recovery = self._recovery(fault, self.record.finished[since:])
            return fault.recovery is not None

        try:
            self.wait(recovered, f"recovery from {fault.kind}", _LONGEST_RECOVERY)
        except AssertionError:
            return

    def _recovery(self, fault: Injected, finished: list[Call]) -> float | None:
        back = [fault.ended]
        fine = [call for call in finished if call.how == "ok"]
        for slot in fault.slots:
            back.append(self._first(c for c in fine if c.start >= fault.ended and c.slot == slot))
        for order_id in fault.ids:
            back.append(self._first(call for call in fine if call.order_id == order_id))
        back += [self._again(call) for call in fault.cut]
        last = max(back)
        return None if last == float("inf") else last - fault.ended

    @staticmethod
    def _first(calls: Iterable[Call]) -> float:
        return min((call.end for call in calls if call.end), default=float("inf"))

    def _again(self, cut: Call) -> float:
        others = self.record.by_order[cut.order_id]
        return next((c.start for c in others if c.start > cut.start), float("inf"))
