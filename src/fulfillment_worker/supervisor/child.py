"""The program of a worker process under a supervisor: `python -m …supervisor.child DESCRIPTOR`.

1. Hear the settings. 2. Load the handler, and say so. 3. Wait for the start. 4. Consume until
told to stop. Signals are the supervisor's affair: Ctrl-C goes to every process of a terminal,
and `systemctl stop` to every one of a service, but a drain is asked for once.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import socket
import sys
from contextlib import suppress

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.core.shortage import Shortage
from fulfillment_worker.handlers.errors import HandlerError
from fulfillment_worker.handlers.handler import LoadedHandler
from fulfillment_worker.handlers.loader import load
from fulfillment_worker.runtime.end import end_process
from fulfillment_worker.runtime.exit_codes import DONE, FAILED, WRONG_USAGE
from fulfillment_worker.runtime.lifecycle import live
from fulfillment_worker.runtime.loop import run_loop
from fulfillment_worker.runtime.run import refuse
from fulfillment_worker.runtime.systemd import Systemd
from fulfillment_worker.runtime.traces import TracesUnavailable, traced
from fulfillment_worker.runtime.watch import Watch
from fulfillment_worker.supervisor.commands import Commands
from fulfillment_worker.supervisor.messages import ChildsEnd, Hello, Loaded, Refused, Start
from fulfillment_worker.supervisor.reporter import Reporter
from fulfillment_worker.system.forks import watch_for_forks
from fulfillment_worker.system.signals import SHOW_THREADS, hear
from fulfillment_worker.system.streams import make_streams_safe
from fulfillment_worker.worker.worker import Worker


def main(descriptor: int) -> int:
    """Serve the supervisor at the other end of the socket; returns the exit code."""
    _leave_signals_to_the_supervisor()
    line = ChildsEnd(_taken(descriptor))
    watch_for_forks()
    hello = line.receive()
    if not isinstance(hello, Hello):
        return DONE  # the supervisor is gone
    settings: Settings = pickle.loads(hello.settings)
    try:
        code, obstinate = _live(hello.seat, settings, _load(settings), line)
    except (HandlerError, TracesUnavailable) as error:
        line.send(Refused(str(error)))
        return WRONG_USAGE
    except Shortage as error:
        return refuse(str(error), FAILED)
    if obstinate:
        end_process(code)
    return code


def _live(
    seat: str, settings: Settings, handler: LoadedHandler, line: ChildsEnd
) -> tuple[int, bool]:
    """As `run_loop`."""
    reporter = Reporter(line)
    # systemd hears from the supervisor alone.
    watch = Watch(settings, reporter, systemd=Systemd({}))
    with watch.logging() as log_to:
        # Every line says of which process it is; those of the supervisor don't.
        log_to.add_fields(lambda: {"process": seat})
        try:
            with traced(settings, handler, watch, log_to) as wrapped:
                return _work(settings, wrapped, watch, reporter, line)
        finally:
            reporter.finish()


def _work(
    settings: Settings, handler: LoadedHandler, watch: Watch, reporter: Reporter, line: ChildsEnd
) -> tuple[int, bool]:
    """As `run_loop`; nothing is done where the supervisor changes its mind."""
    line.send(Loaded())
    start = line.receive()
    if not isinstance(start, Start):
        return DONE, False
    redis_url: RedisUrl = pickle.loads(start.redis_url)
    return run_loop(_consume(settings, redis_url, handler, watch, reporter, line))


async def _consume(
    settings: Settings,
    redis_url: RedisUrl,
    handler: LoadedHandler,
    watch: Watch,
    reporter: Reporter,
    line: ChildsEnd,
) -> int:
    commands = Commands(line, settings.shutdown_grace)

    def on_made(worker: Worker) -> None:
        reporter.start(watch.metrics, watch.health, lambda: worker.names)
        commands.listen(worker.wake)

    ending = await live(settings, redis_url, handler, watch, commands, on_made=on_made)
    return ending.exit_code


def _load(settings: Settings) -> LoadedHandler:
    assert settings.handler is not None
    return load(
        settings.handler, order_timeout=settings.order_timeout, concurrency=settings.concurrency
    )


def _leave_signals_to_the_supervisor() -> None:
    # A function and not SIG_IGN, which programs that the shop's handler starts would inherit. They
    # were held back since before this program was started.
    hear(lambda *_: None)
    with suppress(OSError, ValueError, AttributeError, RuntimeError):  # without a stderr
        faulthandler.register(SHOW_THREADS)


def _taken(descriptor: int) -> socket.socket:
    # Programs that the handler starts must not keep the line open after this one has ended.
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)


if __name__ == "__main__":
    make_streams_safe()
    sys.exit(main(int(sys.argv[1])))
