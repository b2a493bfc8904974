"""For each alert: series that set it off, and series that are like them and don't.

`python -m tests.monitoring.rule_tests` makes promtool's unit tests of them. Values are in
promtool's notation, one each minute from time 0 (`0+2x20` grows by 2 for 20 minutes), and in
LONG_WINDOWS one each 5 minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from fulfillment_worker.monitoring.tickets import promised

Series = dict[str, str]

JOB = 'job="fulfillment-worker"'


class Fires(NamedTuple):
    """One alert that is expected: its labels besides job and severity, and its description."""

    description: str
    labels: Mapping[str, str] = MappingProxyType({})


class Case(NamedTuple):
    """why: what is shown. at: when it is looked at. fires: what is expected; () for nothing."""

    alert: str
    why: str
    at: str
    series: Series
    fires: tuple[Fires, ...] = ()


def one(name: str, values: str, *more: str, instance: str = "a") -> Series:
    """A series of a worker. more: label matchers."""
    labels = ",".join([JOB, f'instance="{instance}"', *more])
    return {f"{name}{{{labels}}}": values}


def attempts(success: str, error: str) -> Series:
    return one("orders_processed_total", success, 'status="success"') | one(
        "orders_processed_total", error, 'status="error"'
    )


def completed(all_: str, punctual: str, le: str = "60.0") -> Series:
    name = "order_end_to_end_duration_seconds"
    return one(f"{name}_count", all_) | one(f"{name}_bucket", punctual, f'le="{le}"')


def queue(depth: str, received: str) -> Series:
    """What was looked at a moment ago."""
    return (
        one("fulfillment_queue_depth", depth)
        | one("orders_received_total", received)
        | one("fulfillment_queue_sample_timestamp_seconds", "0+60x200")
    )


def slots(busy: str) -> Series:
    return one("orders_in_progress", busy) | one("fulfillment_worker_slots", "10x200")


def oldest(since: str, *more: str, seen: str = "0+60x200", instance: str = "a") -> Series:
    name = "fulfillment_queue_oldest_order_timestamp_seconds"
    sampled = "fulfillment_queue_sample_timestamp_seconds"
    return one(name, since, *more, instance=instance) | one(sampled, seen, *more, instance=instance)


def counted(name: str, values: str, *more: str, started: str = "-86400x200") -> Series:
    """A counter of a worker that has run for a day, or was started then."""
    return one(name, values, *more) | one("process_start_time_seconds", started)


def redis(ok: str, error: str) -> Series:
    name = "fulfillment_redis_commands_total"
    return one(name, ok, 'operation="exchange"', 'outcome="ok"') | one(
        name, error, 'operation="exchange"', 'outcome="error"'
    )


def lag(quick: str, all_: str) -> Series:
    """quick: timers that were less than 250 ms late."""
    name = "python_asyncio_loop_lag_seconds_bucket"
    return (
        one(name, quick, 'le="0.25"') | one(name, all_, 'le="0.5"') | one(name, all_, 'le="+Inf"')
    )


def page(names: list[str]) -> Series:
    """A worker that is up and has these."""
    found = one("up", "1x30")
    for name in names:
        found |= one(name, "0x30")
    return found


A = {"instance": "a"}

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

WORKERS = (
    Case(
        "FulfillmentNoWorkerUp",
        "both workers are down",
        "5m",
        one("up", "0x20") | one("up", "0x20", instance="b"),
        (
            Fires(
                "Prometheus reaches no worker of the job fulfillment-worker, or knows of none. "
                "Orders wait in the queue; none is lost."
            ),
        ),
    ),
    Case(
        "FulfillmentNoWorkerUp",
        "there is no target at all, and the label of the job is still there",
        "5m",
        {'up{job="other",instance="a"}': "1x20"},
        (
            Fires(
                "Prometheus reaches no worker of the job fulfillment-worker, or knows of none. "
                "Orders wait in the queue; none is lost."
            ),
        ),
    ),
    Case(
        "FulfillmentNoWorkerUp",
        "one of two is up",
        "5m",
        one("up", "0x20") | one("up", "1x20", instance="b"),
    ),
    Case(
        "FulfillmentTargetDown",
        "one of two is down",
        "10m",
        one("up", "0x30") | one("up", "1x30", instance="b"),
        (Fires("Prometheus can't scrape a.", A),),
    ),
    Case("FulfillmentTargetDown", "it was down for four minutes", "10m", one("up", "1x4 0x3 1x20")),
    Case(
        "FulfillmentWorkerStuck",
        "the loop stands still since the start",
        "5m",
        one("fulfillment_worker_last_loop_timestamp_seconds", "10x20"),
        (Fires("The event loop of a has not turned for 4m 50s: a handler blocks it.", A),),
    ),
    Case(
        "FulfillmentWorkerStuck",
        "it turns",
        "5m",
        one("fulfillment_worker_last_loop_timestamp_seconds", "0+60x20"),
    ),
    Case(
        "FulfillmentWorkerStuck",
        "it has not begun to turn",
        "5m",
        one("fulfillment_worker_last_loop_timestamp_seconds", "0x20"),
    ),
    Case(
        "FulfillmentMetricMissing",
        "a worker has all but one",
        "10m",
        page(promised()[1:]),
        (Fires(f"a is up and has no {promised()[0]}.", A | {"metric": promised()[0]}),),
    ),
    Case("FulfillmentMetricMissing", "a worker has all", "10m", page(promised())),
    Case(
        "FulfillmentMetricMissing",
        "a worker that is down misses nothing",
        "10m",
        one("up", "0x30"),
    ),
    Case(
        "FulfillmentEventLoopLag",
        "2 % of the timers are a quarter of a second late",
        "20m",
        lag("0+98x60", "0+100x60"),
        (Fires("One in a hundred timers of a is 375ms late or more.", A),),
    ),
    Case("FulfillmentEventLoopLag", "0.5 % are", "20m", lag("0+199x60", "0+200x60")),
    Case(
        "FulfillmentDescriptorsRunningOut",
        "nine of ten are open",
        "10m",
        one("process_open_fds", "900x30") | one("process_max_fds", "1000x30"),
        (Fires("a has 90% of the file descriptors open that it may.", A),),
    ),
    Case(
        "FulfillmentDescriptorsRunningOut",
        "seven of ten are open",
        "10m",
        one("process_open_fds", "700x30") | one("process_max_fds", "1000x30"),
    ),
    Case(
        "FulfillmentCrashLooping",
        "three starts in a quarter of an hour",
        "14m",
        one("process_start_time_seconds", "0x2 120x4 360x4 600x12"),
        (Fires("a has started 3 times in 15 minutes.", A),),
    ),
    Case(
        "FulfillmentCrashLooping",
        "one of the processes of a supervisor",
        "14m",
        one("process_start_time_seconds", "0x40", 'process="supervisor"')
        | one("process_start_time_seconds", "0x2 120x4 360x4 600x12", 'process="1"'),
        (Fires("a (1) has started 3 times in 15 minutes.", A | {"process": "1"}),),
    ),
    Case(
        "FulfillmentCrashLooping",
        "a roll-out",
        "14m",
        one("process_start_time_seconds", "0x4 120x40"),
    ),
    Case(
        "FulfillmentTooManySeries",
        "a thousand series",
        "15m",
        one("scrape_samples_post_metric_relabeling", "1000x40"),
        (
            Fires(
                "a has 1000 series, more than twice those that its metrics and queues account for.",
                A,
            ),
        ),
    ),
    Case(
        "FulfillmentTooManySeries",
        "as many as there should be",
        "15m",
        one("scrape_samples_post_metric_relabeling", "260x40"),
    ),
)

QUEUES = (
    Case(
        "FulfillmentOldestOrderTooOld",
        "the head of the list has waited for ten minutes",
        "10m",
        oldest("0x30"),
        (Fires("The oldest order has waited for 10m 0s."),),
    ),
    Case(
        "FulfillmentOldestOrderTooOld",
        "of two queues, one",
        "10m",
        oldest("0x30", 'queue="rush"') | oldest("0+60x30", 'queue="orders"'),
        (Fires("The oldest order of rush has waited for 10m 0s.", {"queue": "rush"}),),
    ),
    Case(
        "FulfillmentOldestOrderTooOld",
        "no worker reaches Redis, so nobody knows better",
        "10m",
        oldest("0x30", seen="0x30"),
        (Fires("The oldest order has waited for 10m 0s."),),
    ),
    Case("FulfillmentOldestOrderTooOld", "it has just come", "10m", oldest("0+60x30")),
    Case(
        "FulfillmentOldestOrderTooOld",
        "what one worker saw before it lost Redis is not what another sees now",
        "10m",
        oldest("0x30", seen="0x30") | oldest("0+60x30", instance="b"),
    ),
    Case(
        "FulfillmentNothingReceived",
        "orders wait, and none is taken",
        "10m",
        queue("7x30", "100x30"),
        (Fires("7 orders or more have waited for 5 minutes, in which no worker received one."),),
    ),
    Case("FulfillmentNothingReceived", "they are taken", "10m", queue("7x30", "0+1x30")),
    Case("FulfillmentNothingReceived", "a quiet night", "10m", queue("0x30", "100x30")),
    Case(
        "FulfillmentNothingReceived",
        "the first order after a quiet night",
        "10m",
        queue("0x9 1x10", "100x30"),
    ),
    Case(
        "FulfillmentOrdersUnaccounted",
        "two orders are nowhere; both workers see the same books",
        "5m",
        one("orders_unaccounted", "0x2 2x20") | one("orders_unaccounted", "0x2 2x20", instance="b"),
        (Fires("2 orders were received and are in no place and in no end."),),
    ),
    Case(
        "FulfillmentOrdersUnaccounted",
        "more ends than beginnings",
        "5m",
        one("orders_unaccounted", "-1x20"),
        (Fires("1 orders were received and are in no place and in no end."),),
    ),
    Case(
        "FulfillmentOrdersUnaccounted", "the books balance", "5m", one("orders_unaccounted", "0x20")
    ),
    Case(
        "FulfillmentQueueGrowing",
        "five come for each that goes",
        "40m",
        queue("0+40x90", "0+30x90"),
        (Fires("The queue grows, and at this pace what waits in it takes 53m 20s."),),
    ),
    Case(
        "FulfillmentQueueGrowing", "a backlog that shrinks", "40m", queue("4000-10x90", "0+10x90")
    ),
    Case(
        "FulfillmentQueueGrowing",
        "it grows, and is done in minutes",
        "40m",
        queue("0+1x90", "0+100x90"),
    ),
    Case(
        "FulfillmentSlotsBusy",
        "all are busy, and orders wait",
        "20m",
        slots("10x60") | queue("5x60", "0+10x60"),
        (Fires("100% of the slots are busy, and orders wait."),),
    ),
    Case(
        "FulfillmentSlotsBusy",
        "all are busy, and nobody waits",
        "20m",
        slots("10x60") | queue("0x60", "0+10x60"),
    ),
    Case(
        "FulfillmentSlotsBusy",
        "half are busy, and orders wait",
        "20m",
        slots("5x60") | queue("5x60", "0+10x60"),
    ),
    Case(
        "FulfillmentDepthSampleStale",
        "it last looked at the start",
        "10m",
        one("fulfillment_queue_sample_timestamp_seconds", "0x30"),
        (
            Fires(
                "a has not looked at the queue for 10m 0s. What it shows of it is old.",
                A,
            ),
        ),
    ),
    Case(
        "FulfillmentDepthSampleStale",
        "it looks",
        "10m",
        one("fulfillment_queue_sample_timestamp_seconds", "0+60x30"),
    ),
    Case(
        "FulfillmentOrdersHeldByNoWorker",
        "three are in flight, and nobody runs or ends any",
        "20m",
        one("fulfillment_in_flight_depth", "3x60")
        | one("fulfillment_queue_sample_timestamp_seconds", "0+60x60")
        | slots("0x60")
        | attempts("9x60", "0x60"),
        (
            Fires(
                "Of 3 orders in flight, no worker that Prometheus knows runs any, or they are "
                "more than all workers could run."
            ),
        ),
    ),
    Case(
        "FulfillmentOrdersHeldByNoWorker",
        "more are in flight than there are slots",
        "20m",
        one("fulfillment_in_flight_depth", "12x60")
        | one("fulfillment_queue_sample_timestamp_seconds", "0+60x60")
        | slots("10x60")
        | attempts("0+9x60", "0x60"),
        (
            Fires(
                "Of 12 orders in flight, no worker that Prometheus knows runs any, or they are "
                "more than all workers could run."
            ),
        ),
    ),
    Case(
        "FulfillmentOrdersHeldByNoWorker",
        "quick orders, none of which happens to run at a scrape",
        "20m",
        one("fulfillment_in_flight_depth", "3x60")
        | one("fulfillment_queue_sample_timestamp_seconds", "0+60x60")
        | slots("0x60")
        | attempts("0+9x60", "0x60"),
    ),
    Case(
        "FulfillmentDeadLettersGrowing",
        "one is rejected; both workers' counters are taken together",
        "20m",
        counted("orders_dead_lettered_total", "0x10 1x60", 'reason="rejected"')
        | one("orders_dead_lettered_total", "5x60", 'reason="rejected"', instance="b"),
        (
            Fires(
                "Orders were put aside as dead letters (rejected): about 1 in half an hour.",
                {"reason": "rejected"},
            ),
        ),
    ),
    Case(
        "FulfillmentDeadLettersGrowing",
        "counted before Prometheus saw the worker for the first time",
        "20m",
        counted("orders_dead_lettered_total", "_x10 1x60", 'reason="invalid"', started="299x60"),
        (
            Fires(
                "Orders were put aside as dead letters (invalid): about 1 in half an hour.",
                {"reason": "invalid"},
            ),
        ),
    ),
    Case(
        "FulfillmentDeadLettersGrowing",
        "they are old, though a process of the supervisor's is new",
        "20m",
        one("orders_dead_lettered_total", "7x60", 'reason="rejected"')
        | one("process_start_time_seconds", "-86400x60", 'process="supervisor"')
        | one("process_start_time_seconds", "_x10 599x60", 'process="1"'),
    ),
    Case(
        "FulfillmentDeadLettersGrowing",
        "they are old",
        "20m",
        counted("orders_dead_lettered_total", "7x60", 'reason="rejected"'),
    ),
    Case(
        "FulfillmentOrdersOrphaned",
        "two are put back",
        "20m",
        counted("orders_recovered_total", "0x10 2x60"),
        (Fires("About 2 orders outlived their worker in half an hour."),),
    ),
    Case(
        "FulfillmentOrdersOrphaned",
        "put back by the worker that replaced it, before its first scrape",
        "20m",
        counted("orders_recovered_total", "_x10 3x60", started="299x60"),
        (Fires("About 3 orders outlived their worker in half an hour."),),
    ),
    Case("FulfillmentOrdersOrphaned", "long ago", "20m", counted("orders_recovered_total", "2x60")),
    Case(
        "FulfillmentRedisErrors",
        "one in ten commands fails",
        "15m",
        redis("0+9x40", "0+1x40"),
        (Fires("10% of the commands to Redis fail."),),
    ),
    Case("FulfillmentRedisErrors", "one in a hundred", "15m", redis("0+99x40", "0+1x40")),
    Case("FulfillmentRedisErrors", "nobody asks anything", "15m", redis("9x40", "1x40")),
    Case(
        "FulfillmentBreakerOpen",
        "open and half open by turns, on one of two workers",
        "10m",
        one(
            "fulfillment_breaker_state", "1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1", 'state="open"'
        )
        | one(
            "fulfillment_breaker_state",
            "0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0",
            'state="half_open"',
        )
        | one("fulfillment_breaker_state", "0x20", 'state="open"', instance="b"),
        (Fires("The breaker of 1 workers is open."),),
    ),
    Case(
        "FulfillmentBreakerOpen",
        "closed",
        "10m",
        one("fulfillment_breaker_state", "1x30", 'state="closed"')
        | one("fulfillment_breaker_state", "0x30", 'state="open"'),
    ),
    Case(
        "FulfillmentWatchdog",
        "always, with the label of the job",
        "5m",
        {},
        (
            Fires(
                "This alert always fires. Send it to a dead man's switch: when it stops coming, "
                "Prometheus, Alertmanager or the way between them is broken, and no other alert "
                "would come."
            ),
        ),
    ),
)

SHORT_WINDOWS = (*BUDGETS, *WORKERS, *QUEUES)
CASES: tuple[Case, ...] = (*SHORT_WINDOWS, *LONG_WINDOWS)
