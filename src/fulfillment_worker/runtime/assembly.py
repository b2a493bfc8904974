"""Puts a worker together from its settings."""

from __future__ import annotations

from collections.abc import Callable

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.core.attempt import Handle
from fulfillment_worker.core.breaker import BreakerRules
from fulfillment_worker.core.decide import RetryPolicy
from fulfillment_worker.core.events import Event
from fulfillment_worker.core.timing import TimeRules
from fulfillment_worker.queue.redis_queue import QueuePolicy, RedisQueue
from fulfillment_worker.queue.shared_client import FEW, SharedConnections
from fulfillment_worker.worker.intake import OrderRules
from fulfillment_worker.worker.worker import Worker


def make_worker(
    settings: Settings,
    redis_url: RedisUrl,
    handler: Handle,
    tell: Callable[[Event], None],
) -> Worker:
    """A worker that has not started. redis_url: where the queues are; never an embedded one."""
    rules = OrderRules(
        id_field=settings.id_field,
        max_bytes=settings.max_order_bytes,
        times=_times(settings),
        retry=RetryPolicy(settings.max_attempts, settings.retry_base, settings.retry_cap),
    )
    return Worker(
        make_queues(settings, redis_url, tell),
        handler,
        rules=rules,
        concurrency=settings.concurrency,
        order_timeout=settings.order_timeout,
        lease=settings.lease,
        emit=tell,
        breaker=BreakerRules() if settings.breaker == "on" else None,
    )


def _times(settings: Settings) -> TimeRules | None:
    times = TimeRules(
        max_age=settings.max_age,
        not_before_field=settings.not_before_field,
        expires_field=settings.expires_field,
    )
    return None if times == TimeRules() else times


def make_queues(
    settings: Settings, redis_url: RedisUrl, tell: Callable[[Event], None]
) -> list[RedisQueue]:
    """The queues of the settings, not connected yet."""
    policy = QueuePolicy(
        lease=_ms(settings.lease),
        status_ttl=_ms(settings.status_ttl),
        events_ttl=_ms(settings.events_ttl),
        max_orphanings=settings.max_orphanings,
        id_field=settings.id_field,
        max_order_bytes=settings.max_order_bytes,
        max_age=_ms(settings.max_age or 0),
        not_before_field=settings.not_before_field or "",
        expires_field=settings.expires_field or "",
    )
    is_shared = len(settings.queues) > FEW and not redis_url.scheme.cluster
    shared = SharedConnections(redis_url, tell) if is_shared else None
    return [RedisQueue(name, redis_url, policy, tell, shared) for name in settings.queues]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
