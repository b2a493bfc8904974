"""Takes faults away from a world that fails, as long as it still fails (delta debugging).

Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.simulation.checker import Violation
from tests.simulation.world import Outcome

Run = Callable[[frozenset[str]], Outcome]


def shrunk(
    run: Callable[[frozenset[str] | None], Outcome],
    only: frozenset[str] | None,
    progress: Callable[[int, int], None],
) -> tuple[list[str], Violation] | None:
    """The faults that are needed, and what they break; None where the world breaks nothing.

    It must be the same rule that is broken. progress: told how many faults are left, and how many
    worlds were run.
    """
    first = run(only)
    if not first.violations:
        return None
    rule, tried = first.violations[0].rule, 0

    def fails(faults: Sequence[str]) -> Outcome | None:
        nonlocal tried
        tried += 1
        outcome = run(frozenset(faults))
        progress(len(faults), tried)
        return outcome if outcome.violations and outcome.violations[0].rule == rule else None

    faults, last = list(dict.fromkeys(first.happened)), first
    parts = 2
    while len(faults) > 1:
        size = -(-len(faults) // parts)
        for start in range(0, len(faults), size):
            fewer = faults[:start] + faults[start + size :]
            outcome = fails(fewer)
            if outcome:
                # Some faults may happen no more, without those that were taken away.
                kept = set(outcome.happened)
                faults, last = [each for each in fewer if each in kept], outcome
                parts = max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(faults), 2 * parts)
    return faults, last.violations[0]
