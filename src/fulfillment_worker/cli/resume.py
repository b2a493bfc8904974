"""`fulfillment-worker resume`."""

from __future__ import annotations

import click

from fulfillment_worker.cli.clients import ask, audited, operators
from fulfillment_worker.cli.options import settings_options
from fulfillment_worker.cli.pause import report
from fulfillment_worker.cli.terminal import no_such_queue
from fulfillment_worker.config.settings import Settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print a JSON list")
@audited
@settings_options("redis_url", "queues")
def resume(settings: Settings, as_json: bool, by: str | None, why: str | None) -> int:
    """Let workers claim orders again, after `pause`.

    They notice by themselves. To resume a queue that isn't paused does no harm.

    \b
    Examples:
      fulfillment-worker resume
      fulfillment-worker resume --queue express,orders --json
    """
    report(ask(_resume(settings, by, why)), as_json, paused=False)
    return 0


async def _resume(settings: Settings, by: str | None, why: str | None) -> dict[str, bool]:
    async with operators(settings, by, why) as each:
        changed = {queue: await operator.resume() for queue, operator in each.items()}
        # One that was paused before its first order is none any more, and was changed.
        unknown = [name for name in each if not (changed[name] or await each[name].is_known())]
    if unknown:
        raise click.ClickException("\n".join(map(no_such_queue, unknown)))
    return changed
