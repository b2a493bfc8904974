"""`fulfillment-worker audit`."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click
import msgspec

from fulfillment_worker.admin.operator import Act
from fulfillment_worker.cli.clients import ask, operators
from fulfillment_worker.cli.letters import bytes_as_json
from fulfillment_worker.cli.options import own_option, settings_options
from fulfillment_worker.cli.terminal import complain, moment, no_such_queue, print_json
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.config.values import Whole
from fulfillment_worker.core.text import visible

_MOST = 10_000


@click.command()
@own_option("--last", Whole(1, _MOST), "100", "how many acts to show, the newest of all queues")
@click.option("--json", "as_json", is_flag=True, help="print a JSON list; times are Unix ms")
@settings_options("redis_url", "queues")
def audit(settings: Settings, last: int, as_json: bool) -> int:
    """Tell what operators did: who, what, to how many orders, when and why.

    The oldest comes first. The last 10,000 acts on each queue are kept. With --json, an edit of a
    dead letter has the bytes of before, for a week.

    \b
    Examples:
      fulfillment-worker audit
      fulfillment-worker audit --last 20 --queue express,orders --json
    """
    acts = ask(_read(settings, last))
    if as_json:
        print_json([_fields(each) for each in acts])
    elif acts:
        click.echo("\n".join(_lines(acts, len(settings.queues) > 1)))
    else:
        click.echo("no acts of operators")
    return 0


async def _read(settings: Settings, last: int) -> list[Act]:
    acts: list[Act] = []
    async with operators(settings) as each:
        for queue, operator in each.items():
            if not await operator.is_known():
                complain(no_such_queue(queue))
            acts += await operator.acts(last)
    return sorted(acts, key=lambda act: act.at)[-last:]


def _fields(act: Act) -> dict[str, object]:
    told: dict[str, object] = msgspec.to_builtins(act)
    if act.before is not None:
        del told["before"]
        told |= bytes_as_json("before", act.before)
    return told


def _lines(acts: list[Act], several: bool) -> Iterator[str]:
    now = int(time.time() * 1000)
    for each in acts:
        queue = f" in {each.queue}" if several else ""
        why = f": {each.why}" if each.why else ""
        yield visible(f"{moment(each.at, now)}  {each.by}  {_deed(each)}{queue}{why}")


def _deed(act: Act) -> str:
    if act.order_id is not None:
        return f"{act.act} {act.order_id}"
    if act.what is not None:
        return f"{act.act} {act.what}"
    if act.act in ("pause", "resume"):
        return act.act
    return f"{act.act} of {act.count} orders" if act.count != 1 else f"{act.act} of 1 order"
