"""When a worker asks a queue again, should nothing happen before."""

from __future__ import annotations

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


def next_exchange_at(
    *,
    now: float,
    since: float,
    last: float,
    due: float | None,
    lease: float,
    holds: bool,
    listens: bool,
    settled: bool,
    jitter: float,
) -> float:
    """The time of the next exchange. All times are monotonic seconds; lease: seconds.

    since: from when the worker has been silent. last: of the last exchange. due: when there is
    something to do that no new order tells of, None where nothing is known. holds: whether the
    worker holds orders. listens: whether it would take one that came. settled: whether the last
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
    looks = due is not None and (listens or (holds and due > last))
    if due is None or not looks:
        return since + longest
    soon = max(now, due) + _LEAST_JITTER + jitter * (_MOST_JITTER - _LEAST_JITTER)
    return min(since + longest, soon)
