"""`fulfillment-worker enqueue`."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO

import click

from fulfillment_worker.admin.sample_orders import sample_orders
from fulfillment_worker.cli import intake
from fulfillment_worker.cli.clients import ask, producer
from fulfillment_worker.cli.options import Unusable, own_option, settings_options
from fulfillment_worker.cli.progress import progress
from fulfillment_worker.cli.terminal import complain, print_json
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.config.values import Whole
from fulfillment_worker.core.text import visible

_MANY_BYTES = 4 * 1024 * 1024
_MANY_ORDERS = 10_000


@click.command()
@click.argument("file", type=click.File("rb", lazy=False), required=False)
@own_option("--sample", Whole(1, 100_000_000), None, "make so many orders, instead of reading any")
@own_option("--seed", Whole(0, 2**63 - 1), None, "makes the sample orders the same each time")
@click.option("--skip-invalid", is_flag=True, help="enqueue the good ones even if some are not")
@click.option("--json", "as_json", is_flag=True, help="print the result as JSON")
@settings_options("redis_url", "queues", "id_field", "max_order_bytes")
def enqueue(
    settings: Settings,
    file: IO[bytes] | None,
    sample: int | None,
    seed: int | None,
    skip_invalid: bool,
    as_json: bool,
) -> int:
    """Put orders on the queue from FILE, or from standard input.

    FILE holds JSON Lines (one order a line, put on the queue as it is written), one JSON object, or
    a JSON array of objects. The first is claimed first. Nothing is enqueued unless all are good.

    \b
    Examples:
      fulfillment-worker enqueue orders.jsonl
      echo '{"order_id": "A-1001"}' | fulfillment-worker enqueue
      fulfillment-worker enqueue --sample 1000 --queue express
      fulfillment-worker enqueue --skip-invalid --json export.json
    """
    rules = intake.Rules(settings.id_field, settings.max_order_bytes)
    entries, size = _input(settings, file, sample, seed)
    with progress("Checking", size, worth=_MANY_BYTES) as seen:
        checked = intake.check(entries(), rules, seen)
    _judge(checked, skip_invalid)
    enqueued = _push(settings, intake.good(entries(), rules), checked.good)
    _report(settings.queues[0], enqueued, checked.bad, as_json)
    return 0


def _input(
    settings: Settings, file: IO[bytes] | None, sample: int | None, seed: int | None
) -> tuple[Callable[[], Iterator[intake.InputEntry]], int]:
    """What goes through all entries, as often as it is called, and their bytes (0: not known)."""
    if sample is not None:
        if file is not None:
            raise Unusable("FILE and --sample were given: give one of them")
        return _samples(sample, seed, settings.id_field), 0
    copied = intake.rereadable(file or _standard_input())
    source = click.get_current_context().with_resource(copied)
    start = source.tell()
    return lambda: intake.entries(source, settings.max_order_bytes, start), intake.size_of(source)


def _samples(
    count: int, seed: int | None, id_field: str
) -> Callable[[], Iterator[intake.InputEntry]]:
    chosen = random.SystemRandom().randrange(2**63) if seed is None else seed

    def entries() -> Iterator[intake.InputEntry]:
        orders = sample_orders(count, chosen, id_field)
        return (intake.InputEntry(f"sample {number}", raw) for number, raw in enumerate(orders, 1))

    return entries


def _standard_input() -> IO[bytes]:
    if sys.stdin.isatty():
        complain("reading orders from the terminal, one a line; end them with Ctrl-D")
    return sys.stdin.buffer


def _judge(checked: intake.Checked, skip_invalid: bool) -> None:
    if not checked.bad:
        return
    if not skip_invalid:
        advice = "nothing was enqueued: correct them, or leave them out with --skip-invalid"
        raise click.ClickException("\n".join([*checked.report, advice]))
    complain("\n".join(f"skipped {fault}" for fault in checked.report))


@dataclass
class _Tally:
    """Counts what Redis confirmed, and tells the progress bar. begun: Redis was reached."""

    advance: Callable[[int], object]
    begun: bool = False
    enqueued: int = 0

    def __call__(self, orders: int) -> None:
        self.enqueued += orders
        self.advance(orders)


def _push(settings: Settings, orders: Iterable[bytes], total: int) -> int:
    with progress("Enqueueing", total, worth=_MANY_ORDERS) as advance:
        tally = _Tally(advance)
        try:
            ask(_send(settings, orders, tally))
        except KeyboardInterrupt:
            raise _cut_short("interrupted", tally, total) from None
        except click.ClickException as error:
            raise _cut_short(error.message, tally, total) from None
    return tally.enqueued


async def _send(settings: Settings, orders: Iterable[bytes], tally: _Tally) -> None:
    async with producer(settings) as queue:
        tally.begun = True
        await queue.enqueue(orders, tally)


def _cut_short(why: str, tally: _Tally, total: int) -> click.ClickException:
    if not tally.begun:
        return click.ClickException(f"{why}; nothing was enqueued")
    return click.ClickException(
        f"{why}; {tally.enqueued} of {total} orders were certainly enqueued, and one batch more "
        "may be: enqueue all of them again, since an id is fulfilled only once"
    )


def _report(queue: str, enqueued: int, skipped: int, as_json: bool) -> None:
    if as_json:
        print_json({"enqueued": enqueued, "skipped": skipped, "queue": queue}, indent=None)
        return
    orders = "1 order" if enqueued == 1 else f"{enqueued} orders"
    click.echo(
        f"enqueued {orders} on {visible(queue)}" + (f"; skipped {skipped}" if skipped else "")
    )
