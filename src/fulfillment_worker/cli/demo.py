"""`fulfillment-worker demo`."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import click

from fulfillment_worker.cli.options import own_option, settings_options
from fulfillment_worker.config.redis_url import RedisUrl, Scheme
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.config.values import Number, Whole

_CALM, _BRISK = 20.0, 200.0
"""Orders per second: for somebody who watches, and for somebody who waits for the end."""


@click.command()
@own_option("--orders", Whole(1, 1_000_000_000), None, "end after so many orders, with a summary")
@own_option(
    "--rate",
    Number(0.001, 1_000_000),
    None,
    f"orders placed in a second  [default: {_CALM:g}; {_BRISK:g} with --orders]",
)
@own_option("--seed", Whole(0, 2**63 - 1), None, "makes the sample orders the same each time")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="where orders are kept, also for the next time  [default: removed at the end]",
)
@settings_options("concurrency", "metrics_host", "metrics_port")
def demo(
    settings: Settings,
    orders: int | None,
    rate: float | None,
    seed: int | None,
    data: Path | None,
) -> int:
    """See it work: a Redis server of its own, a shop that places orders, a worker, the console.

    Some of the orders fail at first, a few are rejected, one is rubbish. Ctrl-C ends everything.

    \b
    Examples:
      fulfillment-worker demo
      fulfillment-worker demo --orders 500
      fulfillment-worker demo --data ./demo-data --rate 200 --metrics-port 0
    """
    from fulfillment_worker.demo.run_demo import demo as run_demo  # noqa: PLC0415 - --help stays quick

    rate = rate or (_CALM if orders is None else _BRISK)
    with ExitStack() as stack:
        path = data or stack.enter_context(_temporary())
        where = RedisUrl(Scheme.EMBEDDED, path=str(path))
        return run_demo(replace(settings, redis_url=where), orders=orders, rate=rate, seed=seed)


def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fulfillment-demo-", ignore_cleanup_errors=True)
