"""Redis's own limit for this worker's scripts: recorded exchanges, sent as fast as it listens.

    .venv/bin/python -m benchmarks.ceiling [--orders N] [--rounds N] [--at-once N]

What redis-benchmark sends can't depend on what was sent before, and each exchange does: it ends the
deliveries that earlier ones claimed. So a worker's own exchanges are recorded while it drains a
full queue; then the queue is filled with the same orders, and the exchanges are sent again without
waiting for replies, from another core. Redis does all that it does for a worker, and is never idle.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmarks.kit import orders
from benchmarks.kit.drain import Drained, drain
from benchmarks.kit.figures import Report, table
from benchmarks.kit.ground import Ground, ground
from benchmarks.kit.recorder import Recorder, name_of, replay
from benchmarks.kit.runs import arguments, as_json, drains
from benchmarks.kit.subject import Ours, Work

NAME = "the scripts alone (Redis's limit)"
_EXCHANGES = (b"FCALL",)


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    report = Report("ceiling")
    told = arguments("ceiling", given, orders=60_000, at_once=1000, rounds=3)
    work = Work("noop", told.orders, told.at_once)
    figures = drains({NAME: partial(ceiling, work)}, told.rounds)
    found = figures[NAME]
    report.tell(
        table(
            ["script ceiling", "orders/s", "Redis CPU µs"],
            [[f"{told.at_once} at once", found.rate.shown(), found.redis_cpu.shown(1)]],
        )
    )
    report.save({"orders": told.orders, "rows": as_json(figures)})


def ceiling(work: Work) -> Drained:
    """Record one drain, and replay it, without a worker: its CPU and memory are 0."""
    with ground() as here:
        commands = _recorded(here, work)
        here.client.flushall()
        orders.fill(here.client, work.many)
        replayed = replay(here, commands)
        done = int(here.client.hget("{orders}:books", "fulfilled") or 0)
    if done != work.many:
        raise RuntimeError(f"the replay fulfilled {done} of {work.many} orders: it isn't the same")
    return Drained(work.many / replayed.seconds, 0.0, replayed.redis_cpu / work.many * 1e6, 0.0)


def _recorded(here: Ground, work: Work) -> list[bytes]:
    recorder = Recorder(here.server.port)
    with recorder.running():
        drain(Ours(url=recorder.url), here, work)
    exchanges = sum(name_of(command) in _EXCHANGES for command in recorder.commands)
    if not exchanges:
        raise RuntimeError("no script was recorded")
    return recorder.commands


if __name__ == "__main__":
    main()
