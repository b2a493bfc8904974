"""`fulfillment-worker status`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import click
import msgspec

from fulfillment_worker.admin.explain import why
from fulfillment_worker.admin.inspector import Inspector
from fulfillment_worker.admin.rules.why import Standing
from fulfillment_worker.admin.whereabouts import OrderLocation
from fulfillment_worker.cli.clients import ask, inspectors, is_text, warn_of_unknown
from fulfillment_worker.cli.options import settings_options
from fulfillment_worker.cli.terminal import coloured, indented, moment, print_json, time_of_day
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.core.exchange import QueueUnavailable
from fulfillment_worker.core.text import visible

_COLOURS = {
    "fulfilled": "green",
    "processing": "cyan",
    "claimed": "cyan",
    "retrying": "yellow",
    "postponed": "yellow",
    "scheduled": "yellow",
    "held": "yellow",
    "cancelled": "red",
    "dead": "red",
    "unknown": "red",
}
_UNKNOWN = "not on the queue, and no worker has seen it lately (see --status-ttl)"


@click.command()
@click.argument("order_ids", metavar="ORDER_ID...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="print a JSON list; times are Unix ms")
@settings_options("redis_url", "queues", "id_field")
def status(settings: Settings, order_ids: tuple[str, ...], as_json: bool) -> int:
    """Tell where orders are, and what they have been through.

    Exits 1 if any of them is unknown.

    \b
    Examples:
      fulfillment-worker status A-1001
      fulfillment-worker status A-1001 A-1002 --queue express,orders --json
    """
    wanted = list(dict.fromkeys(order_ids))
    found = ask(_find(settings, wanted))
    if as_json:
        print_json([_fields(order_id, found.get(order_id)) for order_id in wanted])
    else:
        now = int(time.time() * 1000)
        click.echo("\n\n".join("\n".join(_lines(i, found.get(i), now)) for i in wanted))
    return 0 if len(found) == len(wanted) else 1


class _Found(NamedTuple):
    """An order, and why it is where it is ("" where it has ended)."""

    order: OrderLocation
    why: str


async def _find(settings: Settings, order_ids: list[str]) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    order_ids = list(filter(is_text, order_ids))
    async with inspectors(settings) as all_queues:
        await warn_of_unknown(all_queues)
        for inspector in all_queues:
            # One that has not arrived here, though something is wished for it, may be elsewhere.
            missing = [each for each in order_ids if not _is_there(found.get(each))]
            here = await inspector.find(missing) if missing else {}
            if here:
                queue = await _standing(inspector)
                found |= {
                    name: _Found(order, _why(order, queue))
                    for name, order in here.items()
                    if name not in found or order.status != "unknown"
                }
    return found


def _is_there(found: _Found | None) -> bool:
    return found is not None and found.order.status != "unknown"


async def _standing(inspector: Inspector) -> Standing | None:
    """None where it can't be told: where the orders are is known all the same."""
    try:
        return await inspector.standing()
    except QueueUnavailable:
        return None


def _why(order: OrderLocation, queue: Standing | None) -> str:
    since = order.held_at if order.status == "held" else order.finished_at
    return why(order, queue, time_of_day(since))


def _fields(order_id: str, found: _Found | None) -> Any:
    if found is None:
        return {"order_id": order_id, "status": "unknown"}
    return msgspec.to_builtins(found.order) | {"why": found.why or None}


def _lines(order_id: str, found: _Found | None, now: int) -> Iterator[str]:
    name = coloured(visible(order_id), bold=True)
    if found is None:
        yield f"{name}  {_status('unknown')}: {_UNKNOWN}"
        return
    order = found.order
    position = f", number {order.position} in line" if order.position else ""
    yield f"{name}  {_status(order.status)}{position}"
    if found.why:
        yield f"  {'why':<13} {visible(found.why)}"
    for label, text in _details(order, now):
        yield f"  {label:<13} {visible(text)}"
    if order.traceback and order.status != "fulfilled":
        yield from indented(order.traceback)


def _status(status: str) -> str:
    return coloured(visible(status), fg=_COLOURS.get(status))


def _details(order: OrderLocation, now: int) -> Iterator[tuple[str, str]]:
    yield "queue", order.queue
    times = (
        ("queued", order.queued_at),
        ("started", order.started_at),
        ("finished", order.finished_at),
        ("next attempt", order.next_attempt_at),
    )
    yield from ((label, moment(at, now)) for label, at in times if at is not None)
    if order.attempt is not None:
        yield "attempt", str(order.attempt)
    if order.worker:
        yield "worker", order.worker
    if order.postponed:
        yield "postponed", f"{order.postponed} {'time' if order.postponed == 1 else 'times'}"
    if order.note:
        yield "note", json.dumps(order.note, ensure_ascii=False)
    if order.error and order.status != "fulfilled":
        yield "error", order.error
    for failure in order.history:
        yield f"failed ({failure.attempt})", f"{moment(failure.at, now)}: {failure.error}"
