"""This worker against its peers: no-op drain, 10 ms x 100, pick-up, memory, recovery.

    .venv/bin/python -m benchmarks.peers.compare [--rounds N] [--scale N] [--only NAME,NAME]

Each peer's number of orders (benchmarks/peers/peers.py) is such that a drain takes some seconds;
--scale multiplies it, in percent.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.drain import NAIVE, label
from benchmarks.kit.figures import Report, table
from benchmarks.kit.recovery import recoveries, recovery_table
from benchmarks.kit.runs import (
    arguments,
    as_json,
    drain_run,
    drain_table,
    drains,
    pickup_table,
    pickups,
)
from benchmarks.kit.subject import Naive, Ours, Subject, Work
from benchmarks.peers.peer import Peer
from benchmarks.peers.peers import PEERS
from benchmarks.waits import AT_ONCE

OURS_MANY, NAIVE_MANY = 60_000, 20_000
DEFAULT, BEST = 50, 1000


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print; the figures of all rounds go to peers.json."""
    report = Report("peers")
    told = arguments("peers.compare", given, rounds=3, scale=100, only="", pickups=120)
    names = told.only.split(",") if told.only else [peer.name for peer in PEERS]
    peers = [peer for peer in PEERS if peer.name in names]
    versions = {peer.name: peer.version() for peer in peers}
    report.tell(who(peers, versions))
    contest = Contest(report, peers, told.rounds, told.scale / 100, told.pickups)
    found = {
        "noop": contest.noop(),
        "wait": contest.wait(),
        "pickup": contest.pickup(),
        "recovery": contest.recovery(),
    }
    report.save({"versions": versions, **found})


def who(peers: Sequence[Peer], versions: dict[str, str]) -> str:
    """Who takes part, how it is set, and what it promises."""
    ours, naive = Ours(), Naive()
    return table(
        ["worker", "version", "newest on", "settings", "delivery"],
        [
            [ours.name, "this", "", f"defaults, or --concurrency {BEST}", ours.guarantee],
            [naive.name, "", "", naive.settings, naive.guarantee],
            *[
                [peer.name, versions[peer.name], peer.newest_on(), peer.settings, peer.guarantee]
                for peer in peers
            ],
        ],
    )


class Contest:
    """One table for each workload."""

    def __init__(
        self, report: Report, peers: Sequence[Peer], rounds: int, scale: float, orders: int
    ) -> None:
        """scale: of the numbers of orders in drains. orders: of the pick-up, in each round."""
        self._report = report
        self._peers = peers
        self._rounds = rounds
        self._scale = scale
        self._orders = orders

    def noop(self) -> dict[str, object]:
        """Handlers that do nothing; each with as many at once as it is fastest with."""
        ours, many = Ours(), self._many(OURS_MANY)
        figures = drains(
            {
                label(BEST): drain_run(ours, Work("noop", many, BEST)),
                label(DEFAULT): drain_run(ours, Work("noop", many, DEFAULT)),
                NAIVE: drain_run(Naive(), Work("noop", self._many(NAIVE_MANY))),
                **{
                    peer.name: drain_run(peer, Work("noop", self._many(peer.many)))
                    for peer in self._peers
                },
            },
            self._rounds,
        )
        self._report.tell(drain_table("no-op drain", figures, NAIVE))
        return as_json(figures)

    def wait(self) -> dict[str, object]:
        """Handlers that wait for 10 ms, 100 at once."""
        ours = Ours()
        figures = drains(
            {
                ours.name: drain_run(ours, Work("wait", self._many(OURS_MANY // 2), AT_ONCE)),
                **{
                    peer.name: drain_run(peer, Work("wait", self._many(peer.many), AT_ONCE))
                    for peer in self._peers
                    if peer.hundred
                },
            },
            self._rounds,
        )
        self._report.tell(drain_table("10 ms of waiting, 100 at once", figures))
        return as_json(figures)

    def pickup(self) -> dict[str, object]:
        """One order at a time, for some workers side by side."""
        figures = pickups(self._all(), self._orders, self._rounds)
        self._report.tell(pickup_table(figures))
        return as_json(figures)

    def recovery(self) -> dict[str, float | None]:
        """Kill -9, once."""
        found = recoveries(self._all())
        self._report.tell(recovery_table(found))
        return found

    def _all(self) -> list[Subject]:
        return [Ours(), Naive(), *self._peers]

    def _many(self, orders: int) -> int:
        return max(500, int(orders * self._scale))


if __name__ == "__main__":
    main()
