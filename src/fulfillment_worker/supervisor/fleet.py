"""Keeps as many worker processes at work as were asked for, and sees each one out."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from logging import DEBUG, ERROR, INFO, WARNING

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.core.events import Event, Gone, ProcessCrashed
from fulfillment_worker.observability.logs import log
from fulfillment_worker.runtime.exit_codes import DONE, FAILED
from fulfillment_worker.supervisor.backoff import Backoff
from fulfillment_worker.supervisor.lifetime import ProcessLimits, exceeded
from fulfillment_worker.supervisor.messages import Report
from fulfillment_worker.supervisor.oom import OomKills
from fulfillment_worker.supervisor.process import Child, NotLoaded, NotStarted
from fulfillment_worker.supervisor.release import Releaser
from fulfillment_worker.supervisor.report_store import ReportStore
from fulfillment_worker.supervisor.silence import LOOK, Silences, stopped

_ABORT_GRACE = 9.0
"""Seconds over the grace that children have to end: what lifecycle.py gives them, and some."""
_KILL_GRACE = 2.0
"""Seconds at the end in which orders of killed children can be given back, or the lease does it."""
_SHOWING = 0.3
"""Seconds for a process that hangs to write where, before it is killed."""
_SECOND_SIGNAL_GRACE = 2.6
"""Seconds for the same after a second signal; the supervisor itself ends after 3."""


class Fleet:
    """1. `load` starts a process for each seat. 2. `run` lets them consume, and replaces those
    that end or wear out, until it is cancelled. 3. `end` drains all.
    """

    def __init__(
        self, settings: Settings, store: ReportStore, tell: Callable[[Event], None]
    ) -> None:
        self._settings = settings
        self._store = store
        self._tell = tell
        self._silences = Silences[Child](settings.lease, lambda child: stopped(child.pid))
        self._oom = OomKills()
        self._looking: asyncio.TimerHandle | None = None
        self._limits = ProcessLimits(settings.max_orders_per_process, settings.max_rss_per_process)
        self._first: dict[str, Child | None] = {}
        self._children: dict[Child, asyncio.Task[None]] = {}
        self._releaser: Releaser | None = None
        self._starting = asyncio.Lock()
        self._patience = settings.shutdown_grace + _ABORT_GRACE
        self._ending = self._failed = False

    async def load(self) -> None:
        """Return when the first process has loaded the handler. Raises NotLoaded, NotStarted."""
        for seat in self._store.names:
            self._first[seat] = await self._first_of(seat)
        first = [child for child in self._first.values() if child is not None]
        loading = [asyncio.ensure_future(child.loaded()) for child in first]
        try:
            done, _ = await asyncio.wait(loading, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in loading:
                each.cancel()
        for each in done:
            each.result()

    async def _first_of(self, seat: str) -> Child | None:
        """None where the system has no room for more than those before it: it is tried again."""
        try:
            return await self._start(seat)
        except NotStarted:
            if not any(self._first.values()):
                raise
            return None

    async def run(self, redis_url: RedisUrl, releaser: Releaser) -> None:
        """Keep all seats taken. It goes on until it is cancelled.

        Raises NotLoaded where a process finds, once its resources are there, that its handler can
        never work.
        """
        self._releaser = releaser
        self._look_for_silence()
        refused: NotLoaded | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for seat, first in self._first.items():
                    group.create_task(self._keep(seat, first, redis_url))
        except* NotLoaded as group_of_them:
            refused = NotLoaded(str(group_of_them.exceptions[0]))
        if refused:
            raise refused

    async def end(self, demanded: asyncio.Event) -> int:
        """Drain, or cut short what runs once that is demanded; returns the exit code."""
        self._ending = True
        self._tell_all(Child.stop)
        await self._all_ended(self._patience, demanded)
        if demanded.is_set():
            self._tell_all(Child.abort)
            await self._all_ended(_SECOND_SIGNAL_GRACE)
        await self.close()
        return FAILED if self._failed else DONE

    async def close(self) -> None:
        """End all that is left, and see it out. Idempotent."""
        if self._looking:
            self._looking.cancel()
        self._tell_all(Child.kill)
        await self._all_ended(_KILL_GRACE)
        for seeing_out in self._children.values():
            seeing_out.cancel()

    # --- one seat -----------------------------------------------------------------------------

    async def _keep(self, seat: str, child: Child | None, redis_url: RedisUrl) -> None:
        """One process after the other. One at its limits goes when its successor can work."""
        backoff, exhausted = Backoff(), None
        while True:
            child = child or await self._started(seat)
            if child and await _loads(child):
                child.begin(redis_url)
                log(INFO, "process_started", process=seat, pid=child.pid)
                if exhausted:
                    self._recall(exhausted)
                    exhausted = None
                if await _wears_out(child):
                    # It did its share, so what ended others before it is over.
                    backoff, exhausted, child = Backoff(), child, None
                    continue
            if child and child.begun and child.refusal is not None:
                raise NotLoaded(child.refusal)
            pause = backoff.ended(child.lived if child else 0.0)
            if backoff.looping:
                log(ERROR, "process_looping", process=seat, ends=backoff.ends, pause_seconds=pause)
            child = None
            await asyncio.sleep(pause)

    def _recall(self, child: Child) -> None:
        """Let it drain, while others work; a handler that blocks it doesn't keep it for ever."""
        child.stop()
        asyncio.get_running_loop().call_later(self._patience, child.kill)

    async def _started(self, seat: str) -> Child | None:
        try:
            return await self._start(seat)
        except NotStarted as why:
            log(ERROR, "process_not_started", process=seat, why=str(why))
            return None

    async def _start(self, seat: str) -> Child:
        child = Child(seat, self._heard)
        # Signals are held back meanwhile: of two at a time, the second would never let go of them.
        async with self._starting:
            await child.start(self._settings)
        self._children[child] = asyncio.create_task(self._see_out(child))
        return child

    def _heard(self, child: Child, report: Report) -> None:
        self._store.report(child.seat, child.pid, report)
        why = (
            None
            if child.exhausted.is_set()
            else exceeded(self._limits, report.snapshot, child.lived)
        )
        if why and not child.stopping:
            log(INFO, "process_worn_out", process=child.seat, pid=child.pid, why=why)
            child.exhausted.set()

    # --- the end of a process -----------------------------------------------------------------

    def _look_for_silence(self) -> None:
        self._looking = asyncio.get_running_loop().call_later(LOOK, self._look_for_silence)
        heard = {
            child: child.report.turned
            for child in self._children
            if child.exit_code is None and child.report and child.report.turned is not None
        }
        for child in self._silences.look(heard):
            self._end_hung(child)

    def _end_hung(self, child: Child) -> None:
        log(
            ERROR,
            "process_hung",
            process=child.seat,
            pid=child.pid,
            silent_seconds=self._silences.limit,
            next="it is killed, its orders run elsewhere, and it is replaced",
        )
        child.hung = True
        child.show_threads()
        asyncio.get_running_loop().call_later(_SHOWING, child.kill)

    async def _see_out(self, child: Child) -> None:
        code = await child.ended()
        self._store.ended(child.seat, child.pid)
        drained = child.stopping and code == DONE
        level = INFO if drained else WARNING
        log(
            level if child.begun else DEBUG,
            "process_ended",
            process=child.seat,
            pid=child.pid,
            exit_code=code,
        )
        if child.begun and not drained:
            self._failed = self._failed or self._ending
            await self._release(child, self._how(child, code))
        del self._children[child]

    def _how(self, child: Child, code: int) -> Gone:
        reason = Gone.EXIT if code >= 0 else Gone.KILLED
        if code == -signal.SIGKILL and not child.stopping and self._oom.took():
            reason = Gone.OOM
        if child.hung or not child.stopping:
            self._tell(ProcessCrashed(child.seat, reason))
        return reason

    async def _release(self, child: Child, reason: Gone) -> None:
        if self._releaser and child.report:
            await self._releaser.release(child.report.names, reason)
            for other in self._children:
                if other.begun:
                    other.look()

    # --- all of them --------------------------------------------------------------------------

    def _tell_all(self, what: Callable[[Child], None]) -> None:
        for child in list(self._children):
            if child.exit_code is None:
                what(child)

    async def _all_ended(
        self, within: float | None = None, sooner: asyncio.Event | None = None
    ) -> None:
        """Return when all have been seen out, or by then, or as soon as the event is set."""
        ends = asyncio.ensure_future(self._see_all_out())
        called = asyncio.ensure_future(sooner.wait()) if sooner else ends
        await asyncio.wait({ends, called}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        for each in (ends, called):
            each.cancel()

    async def _see_all_out(self) -> None:
        if self._children:
            await asyncio.wait(self._children.values())


async def _loads(child: Child) -> bool:
    try:
        await child.loaded()
    except NotLoaded as why:
        log(ERROR, "handler_not_loaded", process=child.seat, pid=child.pid, why=str(why))
        return False
    return True


async def _wears_out(child: Child) -> bool:
    """Wait until it has reached its limits, or has ended; tells which."""
    exhausted = asyncio.ensure_future(child.exhausted.wait())
    ended = asyncio.ensure_future(child.ended())
    try:
        await asyncio.wait({exhausted, ended}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        exhausted.cancel()
        ended.cancel()
    return child.exit_code is None
