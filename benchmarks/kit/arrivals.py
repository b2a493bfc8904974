"""How long orders wait that arrive at random times, whatever the worker does: an open loop.

Each order is due at an instant of its own that was drawn before. Its wait is from that instant to
its handler's first line, so an order that was placed late, because the one before had held up the
producer, has waited as long as its customer has: nothing is omitted that load makes slow.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import IO

from benchmarks.kit.ground import Ground
from benchmarks.kit.machine import REDIS_CORE, on_core
from benchmarks.kit.progress import marks
from benchmarks.kit.subject import Subject, Work
from tests.support.eventually import eventually
from tests.support.process import environment

_WARM = 0.1
"""The share of the orders whose waits don't count: the worker is not warm yet."""
_REST = 0.5
"""Seconds between the first order, which shows that all is there, and the others."""
_LONGEST_SLEEP = 0.2
_PATIENCE = 120.0


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Seconds from the start: a Poisson process of `rate` orders a second."""
    dice = random.Random(seed)
    return list(_instants(dice, rate, seconds))


def _instants(dice: random.Random, rate: float, seconds: float) -> Iterator[float]:
    at = dice.expovariate(rate)
    while at < seconds:
        yield at
        at += dice.expovariate(rate)


def waits(subject: Subject, ground: Ground, work: Work, due: Sequence[float]) -> list[float]:
    """Seconds that each order waited, but for the first tenth. work.many: one more than due."""
    producer = subject.producer(ground, work, "paced")
    with subject.start(ground, work):
        with on_core(REDIS_CORE):
            program = subprocess.Popen(
                producer.command, env=environment(producer.env), stdin=subprocess.PIPE
            )
            try:
                assert program.stdin is not None
                started = _place(program.stdin, ground, due)
                program.stdin.close()
                if program.wait(_PATIENCE):
                    raise RuntimeError(f"the producer ended with {program.returncode}")
            finally:
                program.kill()
        eventually(lambda: len(marks(ground)) > work.many, what="all orders")
    at = {mark.done: mark.at for mark in marks(ground)}
    found = [at[number] - started - instant for number, instant in enumerate(due, start=1)]
    return found[int(_WARM * len(found)) :]


def _place(pipe: IO[bytes], ground: Ground, due: Sequence[float]) -> float:
    """Tell the producer the number of each order when it is due. Returns when that began."""
    pipe.write(b"0\n")
    pipe.flush()
    eventually(lambda: marks(ground), what="the first order")
    time.sleep(_REST)
    started = time.monotonic()
    told = 0
    while told < len(due):
        passed = time.monotonic() - started
        if due[told] > passed:
            time.sleep(min(_LONGEST_SLEEP, due[told] - passed))
            continue
        last = told + 1
        while last < len(due) and due[last] <= passed:
            last += 1
        pipe.write(b"".join(b"%d\n" % (number + 1) for number in range(told, last)))
        pipe.flush()
        told = last
    return started
