"""Recording rules: what alerts and dashboards share, computed once.

Every aggregation is made `without` the labels that tell workers apart, so that all others survive:
those of a cluster or a namespace are still there where an alert is routed.
"""

from __future__ import annotations

from typing import Any

from fulfillment_worker.monitoring.target import PER_TARGET, Target, bound

WINDOWS = ("5m", "30m", "1h")
LONG_WINDOWS = ("6h", "3d")
FRESH = "60s"
"""An idle worker looks at the queue every 11.5 s at most: what is older than this is from before
Redis went away."""

_A = ", ".join(PER_TARGET)

Rule = dict[str, str]


def rules(target: Target) -> dict[str, Any]:
    """The recording rules of a deployment, as the content of a rule file of Prometheus.

    Those of long windows are computed more seldom: they read days of samples, and change slowly.
    """
    return {
        "groups": [
            {
                "name": "fulfillment-worker",
                "rules": [
                    *(rule for window in WINDOWS for rule in _ratios(target, window)),
                    *_durations(target),
                    *_depths(target),
                    *_saturation(target),
                ],
            },
            {
                "name": "fulfillment-worker-long-windows",
                "interval": target.window("2m"),
                "rules": [rule for window in LONG_WINDOWS for rule in _ratios(target, window)],
            },
        ]
    }


def _ratios(target: Target, window: str) -> list[Rule]:
    """Of errors and of lateness. Where nothing was processed there is no ratio, and not 0/0."""
    long = target.window(window)
    by_status = f"job_status:orders_processed:rate{window}"
    processed = f"job:orders_processed:rate{window}"
    completed = f"job:orders_completed:rate{window}"
    errors = target.of(by_status, 'status="error"')
    punctual = target.of("order_end_to_end_duration_seconds_bucket", bound(target.late_after))
    return [
        _rule(by_status, _sum(f"rate({target.of('orders_processed_total')}[{long}])")),
        _rule(processed, f"sum without (status) ({target.of(by_status)})"),
        _rule(
            f"job:order_errors_per_orders_processed:ratio_rate{window}",
            f"sum without (status) ({errors})\n/\n({target.of(processed)} > 0)",
        ),
        _rule(
            completed,
            _sum(f"rate({target.of('order_end_to_end_duration_seconds_count')}[{long}])"),
        ),
        _rule(
            f"job:orders_late_per_orders_completed:ratio_rate{window}",
            f"1 - sum without (le, {_A}) (rate({punctual}[{long}]))\n/\n"
            f"({target.of(completed)} > 0)",
        ),
    ]


def _durations(target: Target) -> list[Rule]:
    """Of attempts. A comparison that is always true drops the NaN of times without attempts."""
    name = "order_processing_duration_seconds"
    window = target.window("5m")

    def rate(part: str) -> str:
        whole = target.of(f"{name}_{part}")
        return f"sum without (status, {_A}) (rate({whole}[{window}]))"

    return [
        *(
            _rule(
                f"job:{name}:p{share}_rate5m",
                f"histogram_quantile(0.{share}, {rate('bucket')}) >= 0",
            )
            for share in (50, 95, 99)
        ),
        _rule(f"job:{name}:mean5m", f"{rate('sum')}\n/\n({rate('count')} > 0)"),
    ]


def _depths(target: Target) -> list[Rule]:
    """All workers report the same queue, so the sum over workers would be nonsense."""
    places = ("queue", "in_flight", "retry", "dead_letter")
    oldest = "fulfillment_queue_oldest_order_timestamp_seconds"
    unaccounted = target.of("orders_unaccounted")
    return [
        *(
            _rule(
                f"job:fulfillment_{place}_depth:max",
                _freshest(target, "max", f"fulfillment_{place}_depth"),
            )
            for place in places
        ),
        _rule(
            "job:fulfillment_queue_oldest_order_age_seconds:max",
            f"clamp_min(time() - ({_freshest(target, 'min', oldest)}), 0)",
        ),
        _rule("job:orders_unaccounted:max", f"max without ({_A}) (abs({unaccounted}))"),
    ]


def _freshest(target: Target, operator: str, metric: str) -> str:
    """Over the workers that reach Redis; over all, where none does.

    What a worker knew before it lost Redis must not hide what the others see.
    """
    sampled = target.of("fulfillment_queue_sample_timestamp_seconds")
    every = target.of(metric)
    fresh = f"{every} and time() - {sampled} < {target.seconds(FRESH)}"
    return f"{operator} without ({_A}) ({fresh})\nor\n{operator} without ({_A}) ({every})"


def _saturation(target: Target) -> list[Rule]:
    received = _sum(f"rate({target.of('orders_received_total')}[{target.window('5m')}])")
    waiting = f"sum without (queue) ({target.of('job:fulfillment_queue_depth:max')})"
    running = _sum(target.of("orders_in_progress"))
    return [
        _rule("job:orders_received:rate5m", received),
        _rule(
            "job:fulfillment_queue_drain_seconds:estimate",
            f"({waiting} > 0) / {target.of('job:orders_received:rate5m')}\nor\n{waiting}",
        ),
        _rule(
            "job:orders_in_progress_per_slots:ratio",
            f"{running}\n/\n{_sum(target.of('fulfillment_worker_slots'))}",
        ),
    ]


def _sum(inner: str) -> str:
    return f"sum without ({_A}) ({inner})"


def _rule(record: str, expr: str) -> Rule:
    return {"record": record, "expr": expr}
