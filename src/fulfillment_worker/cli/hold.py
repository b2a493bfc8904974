"""`fulfillment-worker hold`."""

from __future__ import annotations

import click

from fulfillment_worker.admin.rules.wishes import Act
from fulfillment_worker.cli.withdraw import of_orders, waiting, withdraw
from fulfillment_worker.config.settings import Settings


@click.command()
@waiting
@of_orders()
def hold(
    settings: Settings,
    order_ids: tuple[str, ...],
    as_json: bool,
    by: str | None,
    why: str | None,
    wait: float,
) -> int:
    """Keep orders from being handled, wherever they are, until `release` or `cancel`.

    An order that waits is held when its turn comes; `status` says so at once. One that has not
    arrived is held when it comes within 7 days. The attempt of an order that is being handled is
    stopped, and this waits for that: one that succeeds first is fulfilled. A plain function can't
    be stopped, so its order is held when it ends in anything but a success. A dead letter is held
    if it is retried.

    Exits 1 if one of them is fulfilled or cancelled, or is to be cancelled.

    \b
    Examples:
      fulfillment-worker hold A-1001 --why "address?"
      fulfillment-worker hold A-1001 A-1002 --wait 5s --json
    """
    return withdraw(Act.HOLD, settings, order_ids, as_json, by, why, wait)
