"""`fulfillment-worker run`."""

from __future__ import annotations

import click

from fulfillment_worker.cli.options import settings_options
from fulfillment_worker.config.settings import SPECS, Settings


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
    from fulfillment_worker.runtime.run import run as run_worker  # noqa: PLC0415 - --help stays quick

    return run_worker(settings)
