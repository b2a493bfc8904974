"""The end of a demo: were all orders accounted for, and what became of them."""

from __future__ import annotations

import msgspec

from fulfillment_worker.core.exchange import Survey
from fulfillment_worker.demo.tally import Tally
from fulfillment_worker.runtime.lifecycle import Ending


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What a demo came to. before, after: how the queue stood. seconds: it took."""

    tally: Tally
    before: Survey
    after: Survey
    ending: Ending
    seconds: float

    @property
    def from_elsewhere(self) -> int:
        """Orders that others placed meanwhile; below 0 where some of the storefront's are missing.

        All that arrived was either received or still waits.
        """
        received = self.after.received - self.before.received
        return received + self.after.waiting - self.before.waiting - self.tally.placed

    @property
    def ended(self) -> int:
        """Orders that ended meanwhile, whoever handled them."""
        return _ended(self.after) - _ended(self.before)

    @property
    def faults(self) -> list[str]:
        """Why this is no success; empty if it is one."""
        orders = self.tally.orders or 0
        found = []
        if self.after.unaccounted:
            found.append(f"the books don't balance: {self.after.unaccounted} are unaccounted for")
        if self.from_elsewhere < 0:
            found.append(f"{-self.from_elsewhere} of the orders placed never arrived")
        if self.tally.complete and self.ended < orders:
            found.append(f"only {self.ended} of {orders} orders have ended")
        if self.ending is not Ending.DRAINED:
            found.append("it was cut short before the running orders had ended")
        return found


def summary(account: Account) -> list[str]:
    """What happened and, in the last line, whether the books balance."""
    tally, after = account.tally, account.after
    since = " since the queue exists" if account.before.received else ""
    verdict = "not balanced" if after.unaccounted else "balanced"
    return [
        _placed(account),
        *_outcomes(tally),
        *_left(after),
        f"{_many(tally.attempts, 'attempt')}, of which {tally.failed} failed",
        f"books{since}: {_equation(after)}: {verdict}",
    ]


def _placed(account: Account) -> str:
    placed, orders = account.tally.placed, account.tally.orders
    total = _many(max(placed, orders or 0), "order")
    placed_of = total if placed >= (orders or 0) else f"{placed} of {total}"
    others = f" (and {account.from_elsewhere} from elsewhere)" if account.from_elsewhere > 0 else ""
    pace = account.ended / max(account.seconds, 0.001)
    return f"placed {placed_of}{others}; it took {account.seconds:.1f} s, {pace:.0f} orders/s"


def _outcomes(tally: Tally) -> list[str]:
    counted = [
        ("fulfilled", tally.fulfilled, f"of these, {tally.after_retry} after a retry"),
        ("rejected", tally.rejected, "the shop said no: dead letters"),
        ("invalid", tally.invalid, "no orders at all: dead letters, with their exact bytes"),
    ]
    rare = [
        ("given up", tally.exhausted, "after too many attempts: dead letters"),
        ("orphaned", tally.orphaned, "outlived their workers too often: dead letters"),
        ("duplicates", tally.duplicates, "came again, and were not handled twice"),
    ]
    counted += [row for row in rare if row[1]]
    return [f"  {name:<10} {count:>7}   {note}" for name, count, note in counted]


def _left(after: Survey) -> list[str]:
    places = [("waiting", after.waiting), ("retrying", after.retrying)]
    places += [("scheduled", after.scheduled), ("held", after.held)]
    places.append(("in flight", after.in_flight))
    left = [f"{count} {name}" for name, count in places if count]
    return [f"left in the queue: {', '.join(left)}"] if left else []


def _equation(after: Survey) -> str:
    dropped = f" + dropped {after.dropped}" if after.dropped else ""
    rare = (("scheduled", after.scheduled), ("held", after.held), ("cancelled", after.cancelled))
    others = "".join(f" + {name} {count}" for name, count in rare if count)
    return (
        f"received {after.received} = fulfilled {after.fulfilled} + dead {after.dead}"
        f" + duplicates {after.duplicates} + in flight {after.in_flight}"
        f" + retrying {after.retrying}{others}{dropped}"
    )


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _ended(survey: Survey) -> int:
    ended = survey.fulfilled + survey.dead + survey.cancelled
    return ended + survey.duplicates + survey.dropped
