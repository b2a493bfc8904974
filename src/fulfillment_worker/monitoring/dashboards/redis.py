"""Redis, as the workers see it."""

from __future__ import annotations

from fulfillment_worker.monitoring.dashboards.panel import (
    INSTANCE,
    Colour,
    Panel,
    Query,
    Row,
    Step,
    Unit,
    warn,
)

_COMMANDS = "fulfillment_redis_commands_total"
_DURATION = "fulfillment_redis_command_duration_seconds"


def _latency(q: int) -> Query:
    rate = f"sum by (le, operation) (rate({_DURATION}_bucket{{worker}}[$__rate_interval]))"
    return Query(f"histogram_quantile({q / 100:g}, {rate}) >= 0", f"p{q} {{{{operation}}}}")


REDIS = Row(
    "Redis",
    "Does Redis answer, how fast, and how much is it asked?",
    (
        Panel(
            title="Redis latency",
            unit=Unit.SECONDS,
            shows="Time of a command and its answer, by what it is for; waiting for orders is not "
            "in it. An `exchange` carries all that a worker has to say and up to 500 new orders.",
            do="A millisecond or so is usual, more with large batches. Slow: `redis-cli --latency` "
            "from the worker's host, and `SLOWLOG GET` on Redis.",
            queries=(_latency(50), _latency(99)),
            steps=warn(0.25, 1),
        ),
        Panel(
            title="Redis commands",
            unit=Unit.PER_SECOND,
            shows="Commands sent by the workers, by what they are for.",
            do="An idle worker sends about one a second; a busy one sends larger ones rather than "
            "more. A scrape sends none.",
            queries=(
                Query(
                    f"sum by (operation) (rate({_COMMANDS}{{worker}}[$__rate_interval]))",
                    "{{operation}}",
                ),
            ),
        ),
        Panel(
            title="Redis errors",
            runbooks=("FulfillmentRedisErrors",),
            unit=Unit.RATIO,
            shows="Share of the commands that failed or weren't answered, by worker.",
            do="Nothing is lost: running orders finish, and their outcomes are delivered when "
            "Redis is back. `fulfillment-worker doctor` on the worker's host names the fault.",
            queries=(
                Query(
                    f'sum by (instance) (rate({_COMMANDS}{{worker, outcome="error"}}'
                    f"[$__rate_interval])) / sum by (instance) "
                    f"(rate({_COMMANDS}{{worker}}[$__rate_interval])) >= 0",
                    INSTANCE,
                ),
            ),
            steps=warn(0.05),
            highest=1,
        ),
        Panel(
            title="Redis rollbacks",
            runbooks=("FulfillmentQueueRolledBack",),
            unit=Unit.COUNT,
            shows="Times that a worker saw Redis with fewer orders than before, since the point "
            "before. Each worker counts it.",
            do="Anything but 0: Redis was flushed, or came back with older data. Orders may be "
            "lost, and others run twice: follow the runbook.",
            queries=(
                Query(
                    "sum by (queue) (increase(fulfillment_queue_rollbacks_total{worker_queue}"
                    "[$__rate_interval]))",
                    "rollbacks {{queue}}",
                ),
            ),
            steps=(Step(1, Colour.RED),),
        ),
    ),
)
