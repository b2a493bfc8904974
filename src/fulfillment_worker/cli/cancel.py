"""`fulfillment-worker cancel`."""

from __future__ import annotations

import click

from fulfillment_worker.admin.rules.wishes import Act
from fulfillment_worker.cli.withdraw import of_orders, waiting, withdraw
from fulfillment_worker.config.settings import Settings


@click.command()
@waiting
@of_orders("status_ttl")
def cancel(
    settings: Settings,
    order_ids: tuple[str, ...],
    as_json: bool,
    by: str | None,
    why: str | None,
    wait: float,
) -> int:
    """End orders for good, wherever they are.

    A held or dead order is cancelled at once. One that waits is cancelled when its turn comes;
    `status` says so at once. One that has not arrived is cancelled when it comes within 7 days. The
    attempt of an order that is being handled is stopped, and this waits for that: one that succeeds
    first is fulfilled. A plain function can't be stopped, so its order is cancelled when it ends in
    anything but a success. Copies of a cancelled order are duplicates, for as long as its status is
    kept (--status-ttl).

    Exits 1 if one of them is fulfilled.

    \b
    Examples:
      fulfillment-worker cancel A-1001 --why "the customer changed her mind"
      fulfillment-worker cancel A-1001 A-1002 --queue express,orders --json
    """
    return withdraw(Act.CANCEL, settings, order_ids, as_json, by, why, wait)
