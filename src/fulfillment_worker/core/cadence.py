"""When a worker asks a queue again, should nothing happen before."""

from __future__ import annotations

from fulfillment_worker.core.exchange import Exchange, Limited, Reply

HEARTBEAT = 1.0
"""Seconds at most between two exchanges of a worker that holds orders, or that may not claim. Less
with a short lease: three are made in one."""
_SETTLING = 0.25
"""Seconds after the last order is done until the queue is surveyed as it was left."""
_IDLE_OVER_LEASE = 1.5
"""Seconds over one lease between two exchanges of an idle worker: a lease taken just after its last
one has run out by then, and its orders are to run again within lease + 2 s."""
_LONGEST_IDLE = 10.0
"""Seconds, likewise, however long the lease: a message that wakes idle workers may get lost."""
_LEAST_JITTER, _MOST_JITTER = 0.001, 0.02
"""Seconds after something is due: of all idle workers, one is the first."""


class Cadence:
    """What the exchanges so far say about the time of the next one.

    lease: seconds. All times are monotonic seconds, which the caller reads.
    last: the last reply. heard_at: when it came.
    """

    def __init__(self, lease: float) -> None:
        self._lease = lease
        # As if an exchange had just found a backlog: the first one comes at once.
        self.last = Reply(now=0, backlog=True)
        self.heard_at = float("-inf")
        self._surveyed_at = float("-inf")
        # When there is something to do that no new order tells of, as far as is known.
        self._due: float | None = None
        # Whether the last survey shows the queue as the worker's last deed left it.
        self._settled = False

    @property
    def is_held_up(self) -> bool:
        """Whether nothing may be claimed: the queue is paused, or the fleet is at a limit."""
        return self.last.paused or self.last.limited is Limited.REACHED

    def ask_survey(self, now: float, *, holds: bool) -> bool:
        """Whether the exchange that is made now asks for a survey. holds: orders."""
        asks = not (self._settled or holds) or now - self._surveyed_at >= HEARTBEAT * 0.9
        if asks:
            self._surveyed_at = now
        return asks

    def heard(self, exchange: Exchange, reply: Reply, now: float) -> None:
        """Note the reply to an exchange."""
        self.last, self.heard_at = reply, now
        if not exchange.standing:
            due = reply.next_due
            self._due = None if due is None else now + (due - reply.now) / 1000
        acted = exchange.outcomes or reply.claimed or reply.recovered or reply.oversized
        self._settled = bool(reply.survey) or (self._settled and not acted)

    def next_at(
        self, now: float, since: float, *, holds: bool, listens: bool, jitter: float
    ) -> float:
        """When the next exchange is made, should nothing happen before; see `next_exchange_at`."""
        return next_exchange_at(
            now=now,
            since=since,
            last=self.heard_at,
            due=self._due,
            lease=self._lease,
            holds=holds,
            listens=listens,
            limited=self.last.limited is Limited.REACHED,
            settled=self._settled,
            jitter=jitter,
        )


def next_exchange_at(
    *,
    now: float,
    since: float,
    last: float,
    due: float | None,
    lease: float,
    holds: bool,
    listens: bool,
    limited: bool,
    settled: bool,
    jitter: float,
) -> float:
    """The time of the next exchange. All times are monotonic seconds; lease: seconds.

    since: from when the worker has been silent. last: of the last exchange. due: when there is
    something to do that no new order tells of, None where nothing is known. holds: whether the
    worker holds orders. listens: whether it would take one that came. limited: whether
    orders wait until a limit lets them start. settled: whether the last
    survey shows the queue as its last deed left it. jitter: by chance, from 0 to 1.
    """
    if holds:
        longest = min(HEARTBEAT, lease / 3)
    elif not settled:
        longest = _SETTLING
    elif listens:
        longest = min(lease, _LONGEST_IDLE) + _IDLE_OVER_LEASE
    else:
        longest = HEARTBEAT
    # A worker without room looks once when something is due, so that it can wake another.
    looks = due is not None and (listens or limited or (holds and due > last))
    if due is None or not looks:
        return since + longest
    soon = max(now, due) + _LEAST_JITTER + jitter * (_MOST_JITTER - _LEAST_JITTER)
    return min(since + longest, soon)
