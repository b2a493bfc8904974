"""`fulfillment-worker erase`."""

from __future__ import annotations

from collections.abc import Iterator

import click
import msgspec

from fulfillment_worker.admin.eraser import Erased, Eraser
from fulfillment_worker.admin.operator import Operator
from fulfillment_worker.admin.redis_client import connected
from fulfillment_worker.cli.clients import ask, audited, is_text, myself
from fulfillment_worker.cli.options import settings_options
from fulfillment_worker.cli.terminal import complain, no_such_queue, print_json
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.core.redaction import quoted
from fulfillment_worker.core.text import visible

_LEFT = (
    "Redis's append-only file and snapshots hold it until they are rewritten (BGREWRITEAOF, "
    "BGSAVE), and so do backups; so may the logs of workers, traces, and the shop's own systems"
)


class _Result(msgspec.Struct):
    order_id: str
    queue: str
    erased: Erased


@click.command()
@click.argument("order_ids", metavar="ORDER_ID...", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="tell what would go, and remove nothing")
@click.option("--json", "as_json", is_flag=True, help="print the result as JSON")
@audited
@settings_options("redis_url", "queues", "id_field")
def erase(
    settings: Settings,
    order_ids: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    by: str | None,
    why: str | None,
) -> int:
    """Remove every byte of orders from Redis: a person's right to be forgotten.

    Their entries, dead letters, statuses and events go, what the audit says of them, and the bytes
    that letters had before they were edited. The audit tells that orders were erased, and not
    which. An order that a worker is handling stays: repeat the command when it is done. Exits 1 if
    one stays. An order of which there is nothing is no error.

    \b
    Examples:
      fulfillment-worker erase A-1001 --dry-run
      fulfillment-worker erase A-1001 A-1002 --why "request 88 of a customer"
    """
    results = ask(_erase(settings, order_ids, dry_run, by, why))
    for each in results:
        if each.erased.held:
            complain(
                f"{quoted(each.order_id)} is being handled by {each.erased.held}: nothing of it "
                "was removed; repeat this when it is done"
            )
    if as_json:
        print_json([_fields(each, dry_run) for each in results])
    else:
        click.echo("\n".join(_lines(results, dry_run)))
        click.echo(_LEFT)
    return 1 if any(each.erased.held for each in results) else 0


async def _erase(
    settings: Settings, order_ids: tuple[str, ...], dry_run: bool, by: str | None, why: str | None
) -> list[_Result]:
    results = []
    async with connected(settings.redis_url) as client:
        for queue in settings.queues:
            operator = Operator(client, queue, settings.redis_url, by=by or myself(), why=why or "")
            if not await operator.is_known():
                complain(no_such_queue(queue))
                continue
            eraser = Eraser(client, queue, settings.redis_url, operator, settings.id_field)
            wanted = list(dict.fromkeys(filter(is_text, order_ids)))
            erased = await (_would_erase(eraser, wanted) if dry_run else eraser.erase(wanted))
            here = [
                _Result(order_id, queue, erased.get(order_id, Erased()))
                for order_id in dict.fromkeys(order_ids)
            ]
            gone = sum(_is_something(each.erased) for each in here)
            if gone and not dry_run:
                await operator.note("erase", gone)
            results += here
    return results


async def _would_erase(eraser: Eraser, order_ids: list[str]) -> dict[str, Erased]:
    return {
        order_id: Erased(
            orders=len(found.waiting) + len(found.waits) + len(found.letters),
            events=len(found.events),
            acts=len(found.acts),
            status=found.status,
            edits=found.edits,
            held=found.held,
        )
        for order_id, found in (await eraser.find(order_ids)).items()
    }


def _is_something(erased: Erased) -> bool:
    what = erased.orders or erased.events or erased.acts or erased.edits
    return not erased.held and bool(what or erased.status)


def _fields(result: _Result, dry_run: bool) -> dict[str, object]:
    told: dict[str, object] = msgspec.to_builtins(result.erased)
    return {"order_id": result.order_id, "queue": result.queue, "dry_run": dry_run, **told}


def _lines(results: list[_Result], dry_run: bool) -> Iterator[str]:
    verb = "would erase" if dry_run else "erased"
    for each in results:
        what = each.erased
        where = f"{visible(each.order_id)} in {visible(each.queue)}"
        if what.held:
            yield f"{where}: being handled, nothing erased"
        elif not _is_something(what):
            yield f"{where}: nothing is there"
        else:
            yield (
                f"{where}: {verb} {_count(what.orders, 'entry', 'entries')}, "
                f"{'its status' if what.status else 'no status'}, "
                f"{_count(what.events, 'event', 'events')}, "
                f"{_count(what.acts, 'line of the audit', 'lines of the audit')}"
                + (f", {_count(what.edits, 'edit', 'edits')}" if what.edits else "")
            )


def _count(many: int, one: str, several: str) -> str:
    return f"{many} {one if many == 1 else several}"
