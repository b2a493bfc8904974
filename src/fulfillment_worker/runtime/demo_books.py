"""The end of a demo: were all orders accounted for, and what became of them."""

from __future__ import annotations

import msgspec

from fulfillment_worker.core.exchange import Survey
from fulfillment_worker.queue.inspector import Overview
from fulfillment_worker.runtime.demo_tally import Tally
from fulfillment_worker.runtime.life import Ending


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What a demo came to.

    before, after: how the queue stood. placed: by the storefront. orders: that it was to place,
    None for no end. complete: whether the demo ended because all of them had. seconds: it took.
    """

    before: Survey
    after: Survey
    placed: int
    orders: int | None
    complete: bool
    ending: Ending
    seconds: float

    @property
    def from_elsewhere(self) -> int:
        """Orders that others placed meanwhile; below 0 where some of the storefront's are missing.

        All that arrived was either received or still waits.
        """
        received = self.after.received - self.before.received
        return received + self.after.waiting - self.before.waiting - self.placed

    @property
    def faults(self) -> list[str]:
        """Why this is no success; empty if it is one."""
        found = []
        if self.after.unaccounted:
            found.append(f"the books don't balance: {self.after.unaccounted} are unaccounted for")
        if self.from_elsewhere < 0:
            found.append(f"{-self.from_elsewhere} of the orders placed never arrived")
        if self.complete and self.orders and self._ended < self.orders:
            found.append(f"only {self._ended} of {self.orders} orders have ended")
        if self.ending is not Ending.DRAINED:
            found.append("it was cut short before the running orders had ended")
        return found

    @property
    def _ended(self) -> int:
        return _ended(self.after) - _ended(self.before)


def surveyed(overview: Overview) -> Survey:
    """The same as a survey, which knows how to balance the books."""
    same = {name: getattr(overview, name) for name in Survey.__struct_fields__ if name != "oldest"}
    return Survey(oldest=overview.oldest or overview.at, **same)


def summary(tally: Tally, account: Account) -> list[str]:
    """What happened, and whether the books balance, in lines for people."""
    return [
        _placed(account),
        *_outcomes(tally),
        *_left(account.after),
        f"{tally.attempts} attempts, of which {tally.failed} failed",
        f"books: {_equation(account.after)}: "
        + ("not balanced" if account.after.unaccounted else "balanced"),
    ]


def _placed(account: Account) -> str:
    of = f" of {account.orders}" if account.orders and account.placed < account.orders else ""
    others = f" (and {account.from_elsewhere} from elsewhere)" if account.from_elsewhere > 0 else ""
    pace = max(0, _ended(account.after) - _ended(account.before)) / max(account.seconds, 0.001)
    return (
        f"placed {account.placed}{of} orders{others}; "
        f"it took {account.seconds:.1f} s, {pace:.0f} orders/s"
    )


def _outcomes(tally: Tally) -> list[str]:
    counted = [
        ("fulfilled", tally.fulfilled, f"of these, {tally.after_retry} after a retry"),
        ("rejected", tally.rejected, "by the shop: dead letters"),
        ("invalid", tally.invalid, "no order at all: put aside with the exact bytes"),
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
    places.append(("in flight", after.in_flight))
    left = [f"{count} {name}" for name, count in places if count]
    return [f"left in the queue: {', '.join(left)}"] if left else []


def _equation(after: Survey) -> str:
    dropped = f" + dropped {after.dropped}" if after.dropped else ""
    return (
        f"received {after.received} = fulfilled {after.fulfilled} + dead {after.dead}"
        f" + duplicates {after.duplicates} + in flight {after.in_flight}"
        f" + retrying {after.retrying}{dropped}"
    )


def _ended(survey: Survey) -> int:
    return survey.fulfilled + survey.dead + survey.duplicates + survey.dropped
