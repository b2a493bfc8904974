"""What a run comes to: a table by kind, or JSON."""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass

from proofs.chaos.run import Result


@dataclass
class Row:
    """One kind of fault, or all of them. recovery: seconds; None where none was injected."""

    kind: str
    injected: int
    lost: int
    two_owners: int
    after_end: int
    again: int
    fenced: int
    recovery_p50: float | None
    recovery_max: float | None


@dataclass
class Report:
    """good: whether every rule was kept. faults: each breach in words."""

    seed: int
    seconds: float
    rows: list[Row]
    total: Row
    placed: int
    forgotten: int
    fulfilled: int
    dead: int
    calls: int
    unexplained: int
    faults: list[str]

    @property
    def good(self) -> bool:
        return not self.faults

    def to_json(self) -> str:
        return json.dumps({"good": self.good, **asdict(self)}, indent=2)


def make_report(seed: int, results: list[Result]) -> Report:
    recoveries: dict[str, list[float]] = defaultdict(list)
    injected: Counter[str] = Counter()
    for fault in (fault for result in results for fault in result.injected):
        injected[fault.kind] += 1
        if fault.recovery is not None:
            recoveries[fault.kind].append(fault.recovery)
    found = [result.findings for result in results]
    sums: list[Counter[str]] = [
        sum((getattr(each, name) for each in found), Counter[str]())
        for name in ("lost", "two_owners", "after_end", "again", "fenced")
    ]
    kinds = sorted(set(injected).union(*sums))
    return Report(
        seed=seed,
        seconds=round(sum(result.seconds for result in results), 1),
        rows=[
            _row(kind, [injected[kind], *(counts[kind] for counts in sums)], recoveries[kind])
            for kind in kinds
        ],
        total=_row(
            "all",
            [injected.total(), *(counts.total() for counts in sums)],
            [each for some in recoveries.values() for each in some],
        ),
        placed=sum(each.placed for each in found),
        forgotten=sum(each.forgotten for each in found),
        fulfilled=sum(each.fulfilled for each in found),
        dead=sum(each.dead for each in found),
        calls=sum(each.calls for each in found),
        unexplained=sum(each.unexplained for each in found),
        faults=[fault for each in found for fault in each.faults],
    )


def _row(kind: str, counts: list[int], recoveries: list[float]) -> Row:
    p50 = round(statistics.median(recoveries), 2) if recoveries else None
    longest = round(max(recoveries), 2) if recoveries else None
    many, lost, two_owners, after_end, again, fenced = counts
    return Row(kind, many, lost, two_owners, after_end, again, fenced, p50, longest)


_HEADS = (
    "kind",
    "injected",
    "lost",
    "two live owners",
    "after its end",
    "run again",
    "beside a fenced one",
    "recovery p50, s",
    "max, s",
)


def as_table(report: Report) -> str:
    """In Markdown, so that it can go into the docs as it is."""
    lines = [f"| {' | '.join(_HEADS)} |", f"| --- |{' ---: |' * (len(_HEADS) - 1)}"]
    for row in (*report.rows, report.total):
        cells = ["" if value is None else str(value) for value in asdict(row).values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def as_words(report: Report) -> str:
    """The figures that belong to no kind."""
    balanced = "balanced" if report.good else "see above"
    return (
        f"{report.total.injected} faults in {report.seconds:.0f} s, seed {report.seed}: "
        f"{report.placed} orders placed, {report.fulfilled} fulfilled, {report.dead} dead letters, "
        f"{report.forgotten} more flushed by FLUSHALL, "
        f"{report.calls} handler calls; books {balanced}; "
        f"{report.unexplained} leases lost to nothing but a busy machine"
    )
