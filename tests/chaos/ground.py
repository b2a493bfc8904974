"""Where faults are injected: the servers, the workers and the load; and what a fault was."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.chaos.fleet import Fleet
from tests.chaos.load import Producer
from tests.chaos.record import Call, Record
from tests.chaos.seen import Seen
from tests.chaos.sites import Single, Site
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer

_LONGEST_RECOVERY = 15.0


@dataclass
class Injected:
    """One fault that was injected. Times are monotonic seconds.

    slots: the workers that it touched; each must handle an order again. ids: orders that must
    be fulfilled. cut: calls that a kill cut off, whose orders must run again. mute: slots that it
    may have kept from Redis for longer than their lease. forgetful: whether Redis may have lost
    what it had acknowledged last.
    """

    kind: str
    began: float
    ended: float = 0.0
    slots: set[int] = field(default_factory=set)
    ids: list[str] = field(default_factory=list)
    cut: list[Call] = field(default_factory=list)
    mute: set[int] = field(default_factory=set)
    forgetful: bool = False
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

    def wait(self, seen: Callable[[], bool], what: str, deadline: float = 10.0) -> None:
        """Wait until it is so, while what dies is replaced; AssertionError after the deadline."""

        def look() -> bool:
            self.fleet.tend()
            self.record.refresh()
            return seen()

        eventually(look, deadline=deadline, what=what)

    def hold(self, seconds: float) -> None:
        """Let this much time pass: how long a fault lasts, or the pause before the next."""
        until = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() >= until, "time passes", seconds + 5)

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
            back.append(
                self._first(c for c in fine if c.start >= fault.ended and self._slot(c) == slot)
            )
        for order_id in fault.ids:
            back.append(self._first(call for call in fine if call.order_id == order_id))
        back += [self._again(call) for call in fault.cut]
        last = max(back)
        return None if last == float("inf") else last - fault.ended

    def _slot(self, call: Call) -> int:
        return self.fleet.slot_of[call.pid]

    @staticmethod
    def _first(calls: Iterable[Call]) -> float:
        return min((call.end for call in calls if call.end), default=float("inf"))

    def _again(self, cut: Call) -> float:
        others = self.record.by_order[cut.order_id]
        return next((c.start for c in others if c.start > cut.start), float("inf"))
