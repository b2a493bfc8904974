"""Each fault is injected, its alerts arrive as notifications; it is mended, and they end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from fulfillment_worker.monitoring.alerts import ALERTS
from fulfillment_worker.monitoring.target import Target
from proofs.monitoring.faults import MINUTE, Fault
from proofs.monitoring.receiver import Notification
from proofs.monitoring.scene import Scene
from proofs.monitoring.watch import Job, Watch
from tests.support.eventually import eventually

WATCHDOG = "FulfillmentWatchdog"
ROUTES = {"page": "/pages", "ticket": "/tickets", "none": "/alive"}
SEVERITY = {alert.name: str(alert.severity) for alert in ALERTS}
# The machine may be busy, and Prometheus finds Alertmanager again 5 s after each reload.
_DEADLINE = 300.0


class Proven(NamedTuple):
    """One alert that came and went. fired, resolved: seconds after the fault, and its end."""

    what: str
    mend: str
    alert: str
    factor: float
    fired: float
    resolved: float


def prove(fault: Fault, watch: Watch, folder: Path) -> list[Proven]:
    """Inject it and mend it; AssertionError where an alert doesn't come, is wrong, or stays."""
    # A second is a bucket bound, and long enough for a handler that is quick.
    target = Target(job=fault.name, scale=fault.scale, late_after=1, runbooks="https://r.example")
    scene = Scene(
        folder / fault.name,
        watch,
        target,
        workers=fault.workers,
        rate=fault.rate,
        options=fault.options,
    )
    with scene:
        await_calm(watch, target.job)
        began = time.monotonic()
        fault.inject(scene)
        came = {name: await_firing(watch, target, name, began) for name in fault.alerts}
        mended = time.monotonic()
        fault.heal(scene)
        return [
            Proven(
                fault.what,
                fault.mend,
                name,
                1 / fault.scale,
                came[name].at - began,
                await_resolved(watch, target.job, name, came[name].at) - mended,
            )
            for name in fault.alerts
        ]


def await_calm(watch: Watch, job: str) -> None:
    """Wait until the watchdog has been notified of, and nothing else fires or is about to."""
    eventually(lambda: watch.receiver.of(job, WATCHDOG), what="the watchdog")
    eventually(lambda: watch.active(job) == {WATCHDOG}, what=f"{job} is healthy at first")


def await_firing(watch: Watch, target: Target, name: str, since: float) -> Notification:
    """The first notification of it, which must have come by the right route."""

    def firing() -> Notification:
        came = watch.receiver.of(target.job, name, since)
        first = next((each for each in came if each.firing), None)
        assert first, f"active: {watch.active(target.job)}"
        return first

    found = eventually(firing, deadline=_DEADLINE, what=f"{name} of {target.job}")
    assert found.labels["severity"] == SEVERITY[name], found
    assert found.route == ROUTES[SEVERITY[name]], found
    assert found.annotations["runbook_url"] == f"{target.runbooks}#{name.lower()}"
    assert found.annotations["summary"], found
    assert "{{" not in "".join(found.annotations.values()), found
    assert "<error" not in "".join(found.annotations.values()), found
    return found


def await_resolved(watch: Watch, job: str, name: str, since: float) -> float:
    """When the last of its series was told to be over."""

    def over() -> float:
        latest: dict[str, Notification] = {}
        for each in watch.receiver.of(job, name, since):
            latest[str(sorted(each.labels.items()))] = each
        ended = not any(each.firing for each in latest.values()) and name not in watch.active(job)
        return max(each.at for each in latest.values()) if ended and latest else 0.0

    return eventually(over, deadline=_DEADLINE, what=f"{name} of {job} resolved")


def prove_all(
    faults: Iterable[Fault], watch: Watch, folder: Path, *, at_once: int
) -> tuple[list[Proven], list[str]]:
    """So many at once; what was proven, and a line for each that wasn't."""
    proven: list[Proven] = []
    failed: list[str] = []
    with ThreadPoolExecutor(at_once) as pool:
        running = {fault: pool.submit(prove, fault, watch, folder) for fault in faults}
        for fault, result in running.items():
            try:
                proven += result.result()
            except (AssertionError, RuntimeError) as error:
                failed.append(f"{fault.name}: {error}")
    return proven, failed


def prove_watchdog(watch: Watch) -> Proven:
    """It ends when Prometheus does, and is back with it. It needs no worker."""
    job = "watchdog"
    watch.add(Job(Target(job=job, scale=MINUTE), []))
    eventually(lambda: watch.receiver.of(job, WATCHDOG), what="the watchdog")
    began = time.monotonic()
    watch.prometheus.terminate()

    def silent() -> float:
        latest = watch.receiver.of(job, WATCHDOG)[-1]
        return 0.0 if latest.firing else latest.at

    stopped = eventually(silent, what="the watchdog falls silent")
    again = time.monotonic()
    watch.start()

    def back() -> float:
        latest = watch.receiver.of(job, WATCHDOG)[-1]
        return latest.at if latest.firing else 0.0

    came = eventually(back, what="the watchdog is back")
    what, mend = "Prometheus is stopped: the watchdog ends", "it is started: the watchdog is back"
    return Proven(what, mend, WATCHDOG, 1 / MINUTE, stopped - began, came - again)


def stay_healthy(watch: Watch, folder: Path, seconds: float) -> list[str]:
    """Alerts of two healthy deployments under load in that time, the watchdog aside.

    One is watched with the windows that are shipped, the other with short ones.
    """
    # An idle worker looks at the queue once in a lease and 1.5 s: too seldom for short windows.
    leases = {Target(job="healthy"): "10s", Target(job="healthy-short", scale=MINUTE): "3s"}
    with ExitStack() as stack:
        for target, lease in leases.items():
            scene = Scene(
                folder / target.job, watch, target, workers=2, rate=50, options=("--lease", lease)
            )
            stack.enter_context(scene).mode("slow 100 0.02")
        for target in leases:
            await_calm(watch, target.job)
        began = time.monotonic()
        _let_pass(seconds)
        return sorted(
            f"{each.name} of {target.job} after {each.at - began:.0f} s: {each.annotations}"
            for target in leases
            for each in watch.receiver.of(target.job, since=began)
            if each.firing and each.name != WATCHDOG
        )


def _let_pass(seconds: float) -> None:
    ended = threading.Event()
    ended.wait(seconds)
