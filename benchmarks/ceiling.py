"""Redis's own limit for this worker's scripts: recorded trips, said again as fast as it listens.

    .venv/bin/python -m benchmarks.ceiling [--orders N] [--rounds N] [--concurrency N]

What redis-benchmark sends can't depend on what was sent before, and each trip does: it ends the
deliveries that earlier ones claimed. So a worker's own trips are recorded while it drains a full
queue; then the queue is filled with the same orders, and the trips are sent again without waiting
for replies, from another core. Redis does all that it does for a worker, and is never idle.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

from benchmarks.kit import orders
from benchmarks.kit.drain import Drained, drain
from benchmarks.kit.figures import Figures, save, table
from benchmarks.kit.ground import Ground, ground
from benchmarks.kit.recorder import Recorder, name_of, replay
from benchmarks.kit.rounds import in_turns
from benchmarks.kit.subject import Ours, Work

_TRIPS = (b"EVALSHA", b"EVAL", b"FCALL")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.ceiling")
    parser.add_argument("--orders", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=1000)
    given = parser.parse_args(arguments)
    work = Work("noop", given.orders, given.concurrency)
    found = in_turns({"ceiling": partial(ceiling, work)}, given.rounds)["ceiling"]
    rate = Figures(tuple(each.rate for each in found))
    cpu = Figures(tuple(each.redis_cpu for each in found))
    print(
        table(
            ["script ceiling", "orders/s", "Redis CPU µs/order"],
            [[f"{given.concurrency} at once", rate.shown(), cpu.shown(1)]],
        )
    )
    save("ceiling", {"orders": given.orders, "rate": rate.values, "redis_cpu": cpu.values})


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
    trips = sum(name_of(command) in _TRIPS for command in recorder.commands)
    if not trips:
        raise RuntimeError("no script was recorded")
    return recorder.commands


if __name__ == "__main__":
    main()
