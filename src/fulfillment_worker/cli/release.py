"""`fulfillment-worker release`."""

from __future__ import annotations

import click

from fulfillment_worker.admin.rules.wishes import Act
from fulfillment_worker.cli.withdraw import of_orders, withdraw
from fulfillment_worker.config.settings import Settings


@click.command()
@of_orders()
def release(
    settings: Settings,
    order_ids: tuple[str, ...],
    as_json: bool,
    by: str | None,
    why: str | None,
) -> int:
    """Let held orders go on: they are due at once, with what they have been through.

    It also takes back what was asked for and has not taken effect yet: a `hold` or a `cancel` of an
    order that waits, or has not arrived. A cancelled order stays cancelled. Exits 1 if there is
    nothing to release.

    \b
    Examples:
      fulfillment-worker release A-1001 --why "address confirmed"
      fulfillment-worker release A-1001 A-1002 --json
    """
    return withdraw(Act.RELEASE, settings, order_ids, as_json, by, why)
