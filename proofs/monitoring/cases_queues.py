"""Cases of the alerts on queues, orders and Redis."""

from __future__ import annotations

from proofs.monitoring.case import (
    A,
    Case,
    Fires,
    attempts,
    counted,
    oldest,
    one,
    queue,
    redis,
    slots,
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
        "FulfillmentQueueRolledBack",
        "of two queues, one came back older; it was seen by one of two workers",
        "20m",
        counted("fulfillment_queue_rollbacks_total", "0x10 1x60", 'queue="rush"')
        | one("fulfillment_queue_rollbacks_total", "0x60", 'queue="rush"', instance="b")
        | one("fulfillment_queue_rollbacks_total", "0x60", 'queue="orders"'),
        (
            Fires(
                "Redis has fewer orders of rush than workers have seen before: it was flushed, or "
                "came back with older data.",
                {"queue": "rush"},
            ),
        ),
    ),
    Case(
        "FulfillmentQueueRolledBack",
        "seen before Prometheus saw the worker for the first time",
        "20m",
        counted("fulfillment_queue_rollbacks_total", "_x10 1x60", started="299x60"),
        (
            Fires(
                "Redis has fewer orders than workers have seen before: it was flushed, or came "
                "back with older data."
            ),
        ),
    ),
    Case(
        "FulfillmentQueueRolledBack",
        "Redis keeps what it has",
        "20m",
        counted("fulfillment_queue_rollbacks_total", "0x60"),
    ),
    Case(
        "FulfillmentQueueRolledBack",
        "long ago",
        "50m",
        counted("fulfillment_queue_rollbacks_total", "0x5 1x60"),
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
                "more than all workers may hold."
            ),
        ),
    ),
    Case(
        "FulfillmentOrdersHeldByNoWorker",
        "more are in flight than workers may hold",
        "20m",
        one("fulfillment_in_flight_depth", "16x60")
        | one("fulfillment_queue_sample_timestamp_seconds", "0+60x60")
        | slots("10x60")
        | attempts("0+9x60", "0x60"),
        (
            Fires(
                "Of 16 orders in flight, no worker that Prometheus knows runs any, or they are "
                "more than all workers may hold."
            ),
        ),
    ),
    Case(
        "FulfillmentOrdersHeldByNoWorker",
        "quick orders, of which some are held ready",
        "20m",
        one("fulfillment_in_flight_depth", "15x60")
        | one("fulfillment_queue_sample_timestamp_seconds", "0+60x60")
        | slots("10x60")
        | attempts("0+9x60", "0x60"),
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
        counted("orders_recovered_total", "0x10 2x60", 'reason="killed"'),
        (
            Fires(
                "About 2 orders outlived their worker in half an hour (killed).",
                {"reason": "killed"},
            ),
        ),
    ),
    Case(
        "FulfillmentOrdersOrphaned",
        "put back by the worker that replaced it, before its first scrape",
        "20m",
        counted("orders_recovered_total", "_x10 3x60", 'reason="lease"', started="299x60"),
        (
            Fires(
                "About 3 orders outlived their worker in half an hour (lease).",
                {"reason": "lease"},
            ),
        ),
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
        (
            Fires(
                "The breaker of 1 workers is open; fulfillment_breaker_openings_total tells "
                "whether by failures or by rejections."
            ),
        ),
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
