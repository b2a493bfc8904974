"""What `hold`, `release` and `cancel` have in common."""

from __future__ import annotations

from collections.abc import Callable

import click
import msgspec

from fulfillment_worker.admin.inspector import Inspector
from fulfillment_worker.admin.operator import Operator
from fulfillment_worker.admin.redis_client import connected
from fulfillment_worker.admin.rules.wishes import Act, Deed
from fulfillment_worker.admin.withdrawals import Withdrawals, all_done
from fulfillment_worker.cli.clients import ask, audited, myself
from fulfillment_worker.cli.options import Command, Unusable, own_option, settings_options
from fulfillment_worker.cli.terminal import complain, no_such_queue, print_json
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.config.values import Duration
from fulfillment_worker.core.decode import is_id
from fulfillment_worker.core.redaction import quoted
from fulfillment_worker.core.text import visible

_STANDS = "what was asked for stands; `release` takes it back"

waiting = own_option(
    "--wait",
    Duration("0", "1d"),
    "60s",
    "how long to wait for orders that are being handled",
)


def of_orders(*settings: str) -> Callable[[Command], Command]:
    """Give a command the ids of orders, and the options that all three have."""

    def decorate(command: Command) -> Command:
        command = settings_options("redis_url", "queues", "id_field", *settings)(command)
        command = audited(command)
        command = click.option(
            "--json", "as_json", is_flag=True, help="print the results as a JSON list"
        )(command)
        return click.argument("order_ids", metavar="ORDER_ID...", nargs=-1, required=True)(command)

    return decorate


def withdraw(
    act: Act,
    settings: Settings,
    order_ids: tuple[str, ...],
    as_json: bool,
    by: str | None,
    why: str | None,
    wait: float = 0.0,
) -> int:
    """Do it to these orders, and print what came of each; the exit code."""
    wanted = list(dict.fromkeys(order_ids))
    unusable = [each for each in wanted if not is_id(each)]
    if unusable:
        allowed = "give 1 to 128 characters, none of them a control character"
        raise Unusable(
            "\n".join(f"{quoted(e)} can't be an order's id: {allowed}" for e in unusable)
        )
    try:
        deeds = ask(_withdraw(act, settings, wanted, by or myself(), why or "", wait))
    except KeyboardInterrupt:
        raise click.ClickException(f"stopped waiting; {_STANDS}") from None
    if as_json:
        print_json([msgspec.to_builtins(deed) for deed in deeds])
    else:
        click.echo("\n".join(_line(deed, len(settings.queues) > 1) for deed in deeds))
    return 0 if all_done(deeds) else 1


async def _withdraw(
    act: Act, settings: Settings, order_ids: list[str], by: str, why: str, wait: float
) -> list[Deed]:
    """With several queues: in those that know the order, or in all, where none does."""
    deeds: list[Deed] = []
    async with connected(settings.redis_url) as client:
        known: dict[str, set[str]] = {}
        each_queue: dict[str, Withdrawals] = {}
        for queue in settings.queues:
            operator = Operator(client, queue, settings.redis_url, by=by, why=why)
            if not await operator.is_known():
                complain(no_such_queue(queue))
                continue
            inspector = Inspector(client, queue, settings.redis_url, id_field=settings.id_field)
            each_queue[queue] = Withdrawals(operator, inspector, settings.status_ttl)
            known[queue] = await each_queue[queue].knows(order_ids)
        anywhere = set().union(*known.values())
        for queue, withdrawals in each_queue.items():
            here = [each for each in order_ids if each in known[queue] or each not in anywhere]
            deeds += await withdrawals.act(act, here, wait, _tell_of_wait) if here else []
    if not each_queue:
        raise click.ClickException("nothing was done")
    return deeds


def _tell_of_wait(orders: int) -> None:
    what = "an order that is" if orders == 1 else f"{orders} orders that are"
    complain(f"waiting for {what} still being handled; Ctrl-C ends the waiting, and {_STANDS}")


def _line(deed: Deed, several: bool) -> str:
    where = f" in {visible(deed.queue)}" if several else ""
    return f"{visible(deed.order_id)}{where}: {visible(deed.told)}"
