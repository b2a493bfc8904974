"""`run` with one process: the worker and what watches it are in it."""

from __future__ import annotations

import sys

from fulfillment_worker.config.settings import Settings
from fulfillment_worker.core.exchange import QueueUnavailable
from fulfillment_worker.core.shortage import Shortage
from fulfillment_worker.embedded.reachable import reachable
from fulfillment_worker.handlers.errors import HandlerError
from fulfillment_worker.handlers.handler import LoadedHandler
from fulfillment_worker.handlers.loader import load
from fulfillment_worker.runtime.end import end_process
from fulfillment_worker.runtime.exit_codes import FAILED, PORT_TAKEN, WRONG_USAGE
from fulfillment_worker.runtime.lifecycle import live
from fulfillment_worker.runtime.loop import run_loop
from fulfillment_worker.runtime.stop_signals import StopSignals
from fulfillment_worker.runtime.traces import TracesUnavailable, traced
from fulfillment_worker.runtime.watch import PortTaken, Watch
from fulfillment_worker.system.forks import watch_for_forks
from fulfillment_worker.system.signals import hear, leave


def run(settings: Settings) -> int:
    """Consume orders until SIGTERM or SIGINT; returns the exit code.

    The order is a promise: the handler is loaded, the port is bound and served, and only then is
    anything consumed; the port is served until the drain has ended.
    """
    assert settings.handler is not None
    hear(leave)
    watch_for_forks()
    try:
        handler = load(
            settings.handler,
            order_timeout=settings.order_timeout,
            concurrency=settings.concurrency,
        )
    except HandlerError as error:
        return refuse(str(error), WRONG_USAGE)
    watch = Watch(settings)
    try:
        with (
            watch.logging() as log_to,
            watch.serving(),
            traced(settings, handler, watch, log_to) as wrapped,
        ):
            code, obstinate = run_loop(_consume(settings, wrapped, watch))
    except PortTaken as error:
        return refuse(str(error), PORT_TAKEN)
    except TracesUnavailable as error:
        return refuse(str(error), WRONG_USAGE)
    except HandlerError as error:  # what its resources are shows only when they are there
        return refuse(str(error), WRONG_USAGE)
    except (QueueUnavailable, Shortage) as error:
        return refuse(str(error), FAILED)
    if obstinate:
        # Its order is requeued already.
        end_process(code)
    return code


async def _consume(settings: Settings, handler: LoadedHandler, watch: Watch) -> int:
    with StopSignals() as signals:
        async with reachable(settings.redis_url) as redis_url:
            ending = await live(settings, redis_url, handler, watch, signals)
            return ending.exit_code


def refuse(why: str, code: int) -> int:
    """Say in one line why it doesn't run; returns the exit code `code`."""
    print(f"fulfillment-worker: {why}", file=sys.stderr)  # noqa: T201 - the one line for people
    return code
