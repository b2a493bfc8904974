"""`fulfillment-worker pause`."""

from __future__ import annotations

import click

from fulfillment_worker.cli.clients import ask, audited, operators
from fulfillment_worker.cli.options import settings_options
from fulfillment_worker.cli.terminal import no_such_queue, print_json
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.core.text import visible

_MEANS = (
    "workers finish what they hold and claim nothing more, retries included; "
    "orders can be placed as before. Go on with: fulfillment-worker resume"
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print a JSON list")
@click.option("--new", is_flag=True, help="also a queue that was never used yet")
@audited
@settings_options("redis_url", "queues")
def pause(settings: Settings, as_json: bool, new: bool, by: str | None, why: str | None) -> int:
    """Keep all workers from claiming orders, until `resume`.

    What they hold already is finished. Orders can be placed as before: they wait. A worker that is
    started meanwhile is paused as well. To pause twice does no harm. A queue that was never used is
    taken for a typing error, unless --new is given.

    \b
    Examples:
      fulfillment-worker pause
      fulfillment-worker pause --why "the carrier is down"
      fulfillment-worker pause --queue express,orders --json
      fulfillment-worker pause --queue returns --new
    """
    report(ask(_pause(settings, new, by, why)), as_json, paused=True)
    if not as_json:
        click.echo(_MEANS)
    return 0


async def _pause(settings: Settings, new: bool, by: str | None, why: str | None) -> dict[str, bool]:
    async with operators(settings, by, why) as each:
        unknown = [] if new else [name for name in each if not await each[name].is_known()]
        if unknown:
            hint = ", or give --new to pause it before its first order; nothing was paused"
            raise click.ClickException("\n".join(no_such_queue(name) + hint for name in unknown))
        return {queue: await operator.pause() for queue, operator in each.items()}


def report(changed: dict[str, bool], as_json: bool, *, paused: bool) -> None:
    """Print for each queue whether it is paused now, and whether that is new."""
    if as_json:
        print_json([{"queue": q, "paused": paused, "changed": new} for q, new in changed.items()])
        return
    state = "paused" if paused else "open"
    for queue, new in changed.items():
        click.echo(f"{visible(queue)} is {state}" + ("" if new else " already"))
