"""For each alert the fault that it is for: how it is done, and how it is mended."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from typing import NamedTuple

from proofs.monitoring.scene import Scene
from tests.support.eventually import eventually
from tests.support.orders import wait_until_all

Act = Callable[[Scene], None]

MINUTE = 1 / 60
"""Scale by which an hour is a minute."""
HALF = 1 / 120
"""Likewise half a minute: burn rates look back for six hours."""
SLOW = 1 / 1000
"""Of what looks back for three days."""


class Fault(NamedTuple):
    """what, mend: for the table. alerts: those that it must set off. scale: of the windows.

    workers, rate, options: as `Scene` has them.
    """

    name: str
    what: str
    mend: str
    alerts: tuple[str, ...]
    inject: Act
    heal: Act
    scale: float = MINUTE
    workers: int = 1
    rate: float = 20
    options: tuple[str, ...] = ()


def mode(text: str) -> Act:
    """The handlers behave so."""
    return lambda scene: scene.mode(text)


well = mode("well")


def stop_first(scene: Scene) -> None:
    scene[scene.ports[0]].terminate()


def start_first(scene: Scene) -> None:
    scene.restart(scene.ports[0])


def pause(scene: Scene) -> None:
    scene.run("pause")


def resume(scene: Scene) -> None:
    scene.run("resume")


def rush(scene: Scene) -> None:
    scene.mode("slow 100 0.25")
    scene.rate = 25


def calm(scene: Scene) -> None:
    scene.rate = 4
    scene.mode("well")


def delete_what_is_held(scene: Scene) -> None:
    scene.rate = 0
    scene.mode("hold")
    ids = scene.place(3)
    scene.client.delete(scene.await_held(3))
    (scene.folder / "lost").write_text("\n".join(ids))


def place_again_and_write_off(scene: Scene) -> None:
    """As the runbook says."""
    scene.mode("well")
    ids = (scene.folder / "lost").read_text().split()
    orders = [{"order_id": order_id} for order_id in ids]
    scene.push(orders)
    wait_until_all(scene.redis, orders)
    # One that was placed by the way may have been deleted with them.
    unaccounted = scene[scene.ports[0]].scrape()["orders_unaccounted"]
    scene.client.hincrby("{orders}:books", "dropped", round(unaccounted))


def drop_a_metric(scene: Scene) -> None:
    scene.scrape(dropped="orders_unaccounted")


def drop_none(scene: Scene) -> None:
    scene.scrape()


def stop_redis(scene: Scene) -> None:
    scene.redis.stop()


def start_redis(scene: Scene) -> None:
    scene.redis.start()


def restore_older_data(scene: Scene) -> None:
    """Redis comes back with the append-only file of 200 orders before."""
    kept, older = scene.folder / "appendonlydir", scene.folder / "older"
    scene.redis.stop()
    shutil.copytree(kept, older)
    scene.redis.start()
    ids = scene.place(200)
    wait_until_all(scene.redis, [{"order_id": order_id} for order_id in ids])
    (scene.folder / "lost").write_text("\n".join(ids))
    # The worker has seen that they were received.
    sampled = scene[scene.ports[0]].scrape()["fulfillment_queue_sample_timestamp_seconds"]
    eventually(
        lambda: (
            scene[scene.ports[0]].scrape()["fulfillment_queue_sample_timestamp_seconds"] > sampled
        ),
        what="the queue is surveyed",
    )
    scene.redis.stop()
    shutil.rmtree(kept)
    older.rename(kept)
    scene.redis.start()


def place_again(scene: Scene) -> None:
    """As the runbook says."""
    orders = [{"order_id": each} for each in (scene.folder / "lost").read_text().split()]
    scene.push(orders)
    wait_until_all(scene.redis, orders)


def hold_unseen(scene: Scene) -> None:
    """A worker that isn't scraped takes orders, and keeps them."""
    scene.rate = 0
    unseen = scene.start(0)
    unseen.wait_until_ready()
    scene.mode("hold")
    seen = scene[scene.ports[0]]
    seen.pause()
    scene.place(2)
    scene.await_held(1, unseen.pid)
    scene.mode("hold on")
    seen.resume()
    scene.run("pause")


def stop_the_unseen(scene: Scene) -> None:
    scene[0].signal(signal.SIGTERM)
    scene.run("resume")
    scene.mode("well")
    scene[0].wait()


def push_rubbish(scene: Scene) -> None:
    scene.client.lpush("orders", b"this is no order")


def drop_rubbish(scene: Scene) -> None:
    scene.run("dead", "drop", "--reason", "invalid")


def kill_one_that_holds(scene: Scene) -> None:
    scene.rate = 0
    scene.mode("hold")
    scene.place(4)
    victim = scene[scene.ports[0]]
    while not any(f"-{victim.pid}-" in key for key in scene.holders()):
        scene.place()
        eventually(lambda: scene.client.llen("orders") == 0, what="the order is taken")
    victim.kill()


def replace_it(scene: Scene) -> None:
    scene.start(scene.ports[0]).wait_until_ready()
    scene.mode("well")


def crash_again_and_again(scene: Scene) -> None:
    port = scene.ports[0]
    for _ in range(3):
        scene.mode("die")
        scene[port].wait()
        scene.mode("well")
        scene.start(port).wait_until_ready()
        scene.watch.await_scrape_of(scene.job, scene[port].pid, port)


def serve_many_queues(scene: Scene) -> None:
    names = ",".join(["orders", *(f"orders-{n}" for n in range(60))])
    scene.restart(scene.ports[0], "--queue", names)


def serve_one_queue(scene: Scene) -> None:
    scene.restart(scene.ports[0])


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="errors-fast",
        what="30 % of the attempts fail",
        mend="they succeed",
        alerts=("FulfillmentErrorBudgetBurningFast",),
        inject=mode("fail 30"),
        heal=well,
        scale=HALF,
    ),
    Fault(
        name="errors-slow",
        what="1 % of the attempts fail",
        mend="they succeed",
        alerts=("FulfillmentErrorBudgetBurningSlowly",),
        inject=mode("fail 1"),
        heal=well,
        scale=SLOW,
        rate=60,
    ),
    Fault(
        name="late-fast",
        what="40 % of the orders take longer than promised",
        mend="they take no time",
        alerts=("FulfillmentLateBudgetBurningFast",),
        inject=mode("slow 40 1.5"),
        heal=well,
        scale=HALF,
    ),
    Fault(
        name="late-slow",
        what="3 % of the orders take longer than promised",
        mend="they take no time",
        alerts=("FulfillmentLateBudgetBurningSlowly",),
        inject=mode("slow 3 1.5"),
        heal=well,
        scale=SLOW,
        rate=60,
    ),
    Fault(
        name="no-worker",
        what="the only worker is stopped",
        mend="it is started",
        alerts=("FulfillmentNoWorkerUp",),
        inject=stop_first,
        heal=start_first,
    ),
    Fault(
        name="one-down",
        what="one of two workers is stopped",
        mend="it is started",
        alerts=("FulfillmentTargetDown",),
        inject=stop_first,
        heal=start_first,
        workers=2,
    ),
    Fault(
        name="paused",
        what="somebody pauses the queue",
        mend="`resume`",
        alerts=("FulfillmentNothingReceived",),
        inject=pause,
        heal=resume,
    ),
    Fault(
        name="rush",
        what="three times as many orders as two slots can do",
        mend="orders are few again",
        alerts=(
            "FulfillmentOldestOrderTooOld",
            "FulfillmentQueueGrowing",
            "FulfillmentSlotsBusy",
        ),
        inject=rush,
        heal=calm,
        rate=4,
        options=("--concurrency", "2"),
    ),
    Fault(
        name="stuck",
        what="a handler blocks the event loop for good",
        mend="it returns",
        alerts=("FulfillmentWorkerStuck",),
        inject=mode("stuck"),
        heal=well,
    ),
    Fault(
        name="unaccounted",
        what="somebody deletes the orders that a worker holds",
        mend="they are placed again, the books corrected",
        alerts=("FulfillmentOrdersUnaccounted",),
        inject=delete_what_is_held,
        heal=place_again_and_write_off,
    ),
    Fault(
        name="older",
        what="Redis is started with an older append-only file",
        mend="the lost orders are placed again",
        alerts=("FulfillmentQueueRolledBack",),
        inject=restore_older_data,
        heal=place_again,
    ),
    Fault(
        name="missing",
        what="a relabelling drops `orders_unaccounted`",
        mend="it is removed",
        alerts=("FulfillmentMetricMissing",),
        inject=drop_a_metric,
        heal=drop_none,
    ),
    Fault(
        name="redis",
        what="Redis is stopped",
        mend="it is started",
        alerts=("FulfillmentDepthSampleStale", "FulfillmentRedisErrors"),
        inject=stop_redis,
        heal=start_redis,
    ),
    Fault(
        name="unseen",
        what="a worker that Prometheus doesn't know holds orders",
        mend="it is stopped",
        alerts=("FulfillmentOrdersHeldByNoWorker",),
        inject=hold_unseen,
        heal=stop_the_unseen,
    ),
    Fault(
        name="rubbish",
        what="a producer places what is no order",
        mend="it is dropped, and no more comes",
        alerts=("FulfillmentDeadLettersGrowing",),
        inject=push_rubbish,
        heal=drop_rubbish,
    ),
    Fault(
        name="killed",
        what="SIGKILL for a worker that holds orders",
        mend="another is started",
        alerts=("FulfillmentOrdersOrphaned",),
        inject=kill_one_that_holds,
        heal=replace_it,
        workers=2,
    ),
    Fault(
        name="lag",
        what="handlers block the event loop for 0.4 s each",
        mend="they don't",
        alerts=("FulfillmentEventLoopLag",),
        inject=mode("block"),
        heal=well,
        rate=2,
    ),
    Fault(
        name="leak",
        what="a handler leaves files open, 86 % of the limit",
        mend="it closes them",
        alerts=("FulfillmentDescriptorsRunningOut",),
        inject=mode("leak"),
        heal=well,
    ),
    Fault(
        name="crashes",
        what="orders kill the worker, three times",
        mend="they don't",
        alerts=("FulfillmentCrashLooping",),
        inject=crash_again_and_again,
        heal=well,
    ),
    Fault(
        name="series",
        what="a worker serves 61 queues, and the rules know of one",
        mend="it serves one",
        alerts=("FulfillmentTooManySeries",),
        inject=serve_many_queues,
        heal=serve_one_queue,
    ),
    Fault(
        name="breaker",
        what="all attempts fail",
        mend="they succeed",
        alerts=("FulfillmentBreakerOpen",),
        inject=mode("fail 100"),
        heal=well,
        rate=60,
    ),
)
