"""Worlds in which a fault of the worker was found. Each is run by the tests."""

from __future__ import annotations

from typing import NamedTuple


class Regression(NamedTuple):
    """seed: of the world. only: ids of the faults that happen; "" for all. was: the fault."""

    seed: int
    only: str
    was: str


REGRESSIONS = (
    Regression(1, "", "a conversation that had ended was asked to lose patience"),
    Regression(4, "", "a reply that was read late cost a lease where the clock was stepped"),
    Regression(16, "", "a question what is held went by a stepped clock"),
    Regression(85, "", "a new worker took a step of the clock for the end of another's lease"),
    Regression(452, "", "an order that had begun unheard was given back, and stayed as begun"),
    Regression(466, "", "a question what is held came late, and gave back what was under way"),
)
