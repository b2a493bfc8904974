"""Cases of the alerts on workers and their processes."""

from __future__ import annotations

from fulfillment_worker.monitoring.tickets import promised
from proofs.monitoring.case import A, Case, Fires, lag, one, page

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
        (Fires("a has started, or lost processes, 3 times in 15 minutes.", A),),
    ),
    Case(
        "FulfillmentCrashLooping",
        "processes of a supervisor crash",
        "14m",
        one("process_start_time_seconds", "0x40", 'process="supervisor"')
        | one("fulfillment_worker_crashes_total", "0x4 1x4 2x40", 'reason="killed"')
        | one("fulfillment_worker_crashes_total", "0x12 1x40", 'reason="oom"'),
        (Fires("a has started, or lost processes, 3 times in 15 minutes.", A),),
    ),
    Case(
        "FulfillmentCrashLooping",
        "processes of a supervisor are replaced, since they have done their share",
        "14m",
        one("process_start_time_seconds", "0x40", 'process="supervisor"')
        | one("process_start_time_seconds", "0x2 120x4 360x4 600x12", 'process="1"')
        | one("fulfillment_worker_crashes_total", "0x40", 'reason="exit"'),
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
