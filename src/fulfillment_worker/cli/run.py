"""`fulfillment-worker run`."""

from __future__ import annotations

import click

from fulfillment_worker.cli.options import settings_options
from fulfillment_worker.config.settings import SPECS, Settings
from fulfillment_worker.system.streams import make_streams_safe


@click.command()
@settings_options(*SPECS, required=("handler",))
def run(settings: Settings) -> int:
    """Consume orders until told to stop.

    SIGTERM and Ctrl-C stop claiming and let running orders finish; a second one aborts at once.

    \b
    Examples:
      fulfillment-worker run --handler shop.orders:fulfil
      fulfillment-worker run --handler https://shop.example/fulfil --concurrency 200
      FULFILLMENT_HANDLER=shop.orders:fulfil REDIS_URL=redis://redis:6379/0 fulfillment-worker run
    """
    make_streams_safe()
    # Here, so that --help stays quick, and a process has in memory only what it needs.
    if settings.supervised:
        from fulfillment_worker.supervisor.supervise import run as supervise  # noqa: PLC0415

        return supervise(settings)
    from fulfillment_worker.runtime.run import run as run_worker  # noqa: PLC0415

    return run_worker(settings)
