"""For each alert: series that set it off, and series that are like them and don't.

`python -m proofs.monitoring.rule_tests` makes promtool's unit tests of them. Values are in
promtool's notation, one each minute from time 0 (`0+2x20` grows by 2 for 20 minutes), and in
LONG_WINDOWS one each 5 minutes.
"""

from __future__ import annotations

from proofs.monitoring.case import Case
from proofs.monitoring.cases_budgets import BUDGETS, LONG_WINDOWS
from proofs.monitoring.cases_queues import QUEUES
from proofs.monitoring.cases_workers import WORKERS

SHORT_WINDOWS: tuple[Case, ...] = (*BUDGETS, *WORKERS, *QUEUES)
CASES: tuple[Case, ...] = (*SHORT_WINDOWS, *LONG_WINDOWS)
