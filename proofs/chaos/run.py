"""Runs a plan, round by round, each on a Redis and a fleet of its own."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import redis

from proofs.chaos.audit import Audit, Findings
from proofs.chaos.fleet import Fleet
from proofs.chaos.ground import Ground, Injected
from proofs.chaos.load import PER_SECOND, Producer
from proofs.chaos.plan import Round, Step, make_plan
from proofs.chaos.record import Record
from proofs.chaos.sites import open_site
from proofs.chaos.witness import Witness
from tests.support.orders import Books, books

Say = Callable[[str], None]
HISTORY = "history.jsonl"
_REST = 120.0
"""Seconds without any change in which all must have come to rest, once nothing is placed."""


class Result(NamedTuple):
    """Of one round. seconds: how long faults were injected."""

    injected: list[Injected]
    findings: Findings
    seconds: float


def run(faults: int, seed: int, say: Say, keep: Path | None = None) -> Iterator[Result]:
    """Inject so many faults; a word to `say` now and then. Yields what each round came to.

    keep: a folder for the histories of the rounds.
    """
    done = 0
    for number, a_round in enumerate(make_plan(faults, seed), 1):
        say(f"{done} of {faults} faults; {len(a_round.steps)} more on {a_round.site}")
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            result = run_round(Path(folder), a_round, say)
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(Path(folder) / HISTORY, keep / f"{number}-{a_round.site}.jsonl")
        for fault in result.findings.faults:
            say(f"  {fault}")
        done += len(result.injected)
        yield result


def run_round(folder: Path, a_round: Round, say: Say, per_second: int = PER_SECOND) -> Result:
    """All processes end with it, however it goes."""
    with ExitStack() as stack:
        site = stack.enter_context(open_site(folder, a_round.site))
        record = stack.enter_context(closing(Record(folder / "calls")))
        producer = Producer(site, random.Random(a_round.seed), per_second)
        stack.callback(producer.stop)
        witness = Witness(site)
        stack.callback(witness.stop)
        fleet = stack.enter_context(closing(Fleet(folder / "worker", site, record.env)))
        ground = Ground(site, fleet, record, producer)
        fleet.start()
        producer.start()
        witness.start()
        began = time.monotonic()
        injected, broken = _inject_all(ground, a_round.steps, say)
        seconds = time.monotonic() - began
        _come_to_rest(ground)
        witness.stop()
        audit = Audit(ground, witness, injected)
        told = "".join(f"{json.dumps(line)}\n" for line in audit.history)
        (folder / HISTORY).write_text(told, encoding="utf-8")
        findings = audit.run()
        findings.faults += broken
        return Result(injected, findings, seconds)


def _inject_all(ground: Ground, steps: list[Step], say: Say) -> tuple[list[Injected], list[str]]:
    """All of them; or up to one that could not be injected, and why."""
    injected: list[Injected] = []
    for step in steps:
        try:
            injected.append(_inject(ground, step, say))
        except (AssertionError, OSError, RuntimeError, redis.RedisError) as error:
            return injected, [f"{getattr(step.fault, '__name__', step.fault)}: {error}"]
    return injected, []


def _inject(ground: Ground, step: Step, say: Say) -> Injected:
    ground.hold(step.pause)
    fault = step.fault(ground, random.Random(step.seed))
    ground.await_recovery(fault)
    back = "not back" if fault.recovery is None else f"back in {fault.recovery:.2f} s"
    say(f"  {fault.kind}: {fault.ended - fault.began:.2f} s, {back}")
    return fault


def _come_to_rest(ground: Ground) -> None:
    """Nothing is placed any more; what is under way ends, and then the workers do."""
    ground.producer.stop()

    looks: list[Books] = []
    changed = time.monotonic()

    def at_rest() -> bool:
        # Three times: an order that moves while the places are counted is in none.
        nonlocal changed
        looks.append(books(ground.site))
        if looks[-2:-1] != looks[-1:]:
            changed = time.monotonic()
        resting = [not (now.waiting or now.in_flight or now.retrying) for now in looks[-3:]]
        return resting == [True] * 3 or time.monotonic() > changed + _REST

    # What doesn't end is for the audit to tell.
    try:
        ground.wait(at_rest, "all orders ended", 10 * _REST)
    except AssertionError:
        return
    workers = [ground.fleet[slot] for slot in ground.fleet]
    for worker in workers:
        ground.fleet.stop(worker)
    for worker in workers:
        ground.fleet.await_drain(worker)
    ground.record.refresh()
