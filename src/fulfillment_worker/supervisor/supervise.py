"""`run` with several processes: the supervisor's own life."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from logging import INFO
from typing import Any

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.core.exchange import QueueUnavailable
from fulfillment_worker.core.shortage import Shortage
from fulfillment_worker.embedded.reachable import reachable
from fulfillment_worker.observability.logs import log
from fulfillment_worker.runtime.assembly import make_queues
from fulfillment_worker.runtime.exit_codes import DONE, FAILED, PORT_TAKEN, WRONG_USAGE
from fulfillment_worker.runtime.run import refuse
from fulfillment_worker.runtime.stop_signals import StopSignals
from fulfillment_worker.runtime.version import version
from fulfillment_worker.runtime.watch import PortTaken, Watch
from fulfillment_worker.supervisor.fleet import Fleet
from fulfillment_worker.supervisor.merged_metrics import Merged
from fulfillment_worker.supervisor.probes import FleetHealth
from fulfillment_worker.supervisor.process import NotLoaded, NotStarted
from fulfillment_worker.supervisor.release import Releaser
from fulfillment_worker.supervisor.report_store import ReportStore
from fulfillment_worker.system.signals import hear, leave


def run(settings: Settings) -> int:
    """Supervise worker processes until SIGTERM or SIGINT; returns the exit code.

    The order is that of runtime/run.py: a process has loaded the handler, the port is bound and
    served, and only then is anything consumed; the port is served until all have drained.
    """
    hear(leave)
    supervisor = _Supervisor(settings)
    try:
        return asyncio.run(supervisor.run())
    except NotStarted as why:
        return refuse(str(why), FAILED)
    except NotLoaded as why:
        return refuse(str(why), WRONG_USAGE)
    except PortTaken as error:
        return refuse(str(error), PORT_TAKEN)
    except (QueueUnavailable, Shortage) as error:
        return refuse(str(error), FAILED)


class _Supervisor:
    """What a supervisor has: a fleet, and what watches it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = ReportStore(settings.processes)
        self._watch = Watch(settings)
        self._health = FleetHealth(self._watch.health, self._store.reports)
        self._fleet = Fleet(settings, self._store, self._watch.tell)

    async def run(self) -> int:
        """See `run`."""
        settings = self._settings
        with StopSignals() as signals:
            try:
                if not await _unless(signals.asked, self._fleet.load()):
                    return DONE  # told to stop before anything began
                registry = Merged(self._watch.metrics.registry, self._store.seats).registry
                with self._watch.logging(), self._watch.serving(registry, self._health):
                    async with reachable(settings.redis_url) as url, self._watch.ticking():
                        return await self._supervise(url, signals)
            finally:
                await self._fleet.close()

    async def _supervise(self, redis_url: RedisUrl, signals: StopSignals) -> int:
        settings, tell = self._settings, self._watch.tell
        log(
            INFO,
            "supervisor_started",
            processes=settings.processes,
            queues=",".join(settings.queues),
            redis=settings.redis_url.redacted,
            version=version(),
        )
        self._watch.systemd.ready()
        releaser = Releaser(make_queues(settings, redis_url, tell), settings.lease, tell)
        await _unless(signals.asked, self._fleet.run(redis_url, releaser))
        self._health.draining()
        self._watch.systemd.stopping()
        log(INFO, "supervisor_draining", grace_seconds=settings.shutdown_grace)
        code = await self._fleet.end(signals.demanded)
        log(INFO, "supervisor_stopped", exit_code=code)
        return code


async def _unless(event: asyncio.Event, deed: Coroutine[Any, Any, None]) -> bool:
    """Do it until the event is set; returns whether it was done. Raises what it raises."""
    doing, called = asyncio.ensure_future(deed), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({doing, called}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        called.cancel()
        doing.cancel()
        await asyncio.wait({doing})
    if doing.cancelled():
        return False
    doing.result()
    return True
