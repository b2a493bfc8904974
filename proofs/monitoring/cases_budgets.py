"""Cases of the alerts on budgets."""

from __future__ import annotations

from proofs.monitoring.case import Case, Fires, attempts, completed

ERRORS_FAST = "FulfillmentErrorBudgetBurningFast"
LATE_FAST = "FulfillmentLateBudgetBurningFast"
ERRORS_SLOW = "FulfillmentErrorBudgetBurningSlowly"
LATE_SLOW = "FulfillmentLateBudgetBurningSlowly"
FAST = "At this pace the {} budget of a month is gone in days."

BUDGETS = (
    Case(
        ERRORS_FAST,
        "10 % of the attempts fail for an hour",
        "1h",
        attempts("0+9x120", "0+1x120"),
        (Fires(f"10% of the attempts fail. {FAST.format('error')}"),),
    ),
    Case(
        ERRORS_FAST,
        "many failed, but it has been over for 40 minutes",
        "1h10m",
        attempts("0+9x140", "0+1x30 30x80"),
    ),
    Case(ERRORS_FAST, "nothing is processed", "1h", attempts("5x120", "5x120")),
    Case(
        LATE_FAST,
        "20 % are late for an hour",
        "1h",
        completed("0+10x120", "0+8x120"),
        (Fires(f"20% of the orders are fulfilled too late. {FAST.format('lateness')}"),),
    ),
    Case(
        LATE_FAST,
        "the same, with buckets as other clients and Prometheus 3 write them",
        "1h",
        completed("0+10x120", "0+8x120", le="60"),
        (Fires(f"20% of the orders are fulfilled too late. {FAST.format('lateness')}"),),
    ),
    Case(
        ERRORS_FAST,
        "half of 24 an hour fail: too few to wake anybody",
        "1h",
        attempts("0+0.2x120", "0+0.2x120"),
    ),
    Case(LATE_FAST, "5 % are late", "1h", completed("0+20x120", "0+19x120")),
    Case(LATE_FAST, "half of 24 an hour are late", "1h", completed("0+0.4x120", "0+0.2x120")),
)

LONG_WINDOWS = (
    Case(
        ERRORS_FAST,
        "1 % fail for six hours: six times the budget",
        "6h",
        attempts("0+99x72", "0+1x72"),
        (Fires(f"1% of the attempts fail. {FAST.format('error')}"),),
    ),
    Case(ERRORS_FAST, "0.5 % fail", "6h", attempts("0+199x72", "0+1x72")),
    Case(
        ERRORS_SLOW,
        "0.5 % of the attempts fail for seven hours",
        "7h",
        attempts("0+199x84", "0+1x84"),
        (Fires("0.5% of the attempts of three days failed: more than the error budget has."),),
    ),
    Case(ERRORS_SLOW, "0.05 % fail", "7h", attempts("0+1999x84", "0+1x84")),
    Case(
        ERRORS_SLOW,
        "half fail, but of six an hour",
        "7h",
        attempts("0+0.25x84", "0+0.25x84"),
    ),
    Case(
        ERRORS_SLOW,
        "some failed, but none in the last six hours",
        "8h",
        attempts("0+9x96", "0+1x12 12x84"),
    ),
    Case(
        LATE_SLOW,
        "2 % are late for seven hours",
        "7h",
        completed("0+50x84", "0+49x84"),
        (Fires("2% of the orders of three days were late: more than the lateness budget has."),),
    ),
    Case(LATE_SLOW, "0.5 % are late", "7h", completed("0+200x84", "0+199x84")),
)
