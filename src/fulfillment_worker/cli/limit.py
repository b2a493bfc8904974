"""`fulfillment-worker limit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import msgspec

from fulfillment_worker.admin.inspector import Overview
from fulfillment_worker.admin.rules.limit_rows import LimitRow, limit_rows
from fulfillment_worker.cli.clients import ask, audited, inspectors, operators, warn_of_unknown
from fulfillment_worker.cli.options import own_option, settings_options
from fulfillment_worker.cli.terminal import no_such_queue, print_json, table
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.config.values import Parser
from fulfillment_worker.core.limits import MOST, Rate, parse_path
from fulfillment_worker.core.text import visible

_OFF = "off"


class _Lifted:
    """A value, or `off`: then the limit is lifted. It is wrapped, so that None is a value, too."""

    def __init__(self, parse: Callable[[str], object], allowed: str) -> None:
        self._parse = parse
        self.allowed = f"{allowed}, or off"

    def __call__(self, text: str) -> tuple[object]:
        if text.lower() == _OFF:
            return (None,)
        try:
            return (self._parse(text),)
        except ValueError:
            raise ValueError(f"give {self.allowed}") from None


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise ValueError(text)
    return int(text)


_RATE: Parser[object] = _Lifted(Rate.parse, Rate.allowed)
_NUMBER: Parser[object] = _Lifted(_count, f"a whole number from 1 to {MOST}")
_PATH: Parser[object] = _Lifted(
    parse_path, "the name of a field, or a path of names with dots such as customer.id"
)


@click.command()
@own_option("--rate", _RATE, None, "attempts started per second, minute or hour: 10/s, 90/m, 500/h")
@own_option("--burst", _NUMBER, None, "how many of them at once  [default: a fifth of a second's]")
@own_option("--in-flight", _NUMBER, None, "orders that are being handled at the same time")
@own_option("--per-key", _PATH, None, "a field of the order: limits for each of its values")
@own_option(
    "--at-once", _NUMBER, None, "of each key, orders handled at the same time  [default: 1]"
)
@own_option("--key-rate", _RATE, None, "of each key, attempts started: 2/s, 90/m, 500/h")
@own_option("--key-burst", _NUMBER, None, "of each key, how many of them at once")
@click.option("--json", "as_json", is_flag=True, help="print a JSON list")
@click.option("--new", is_flag=True, help="also a queue that was never used yet")
@audited
@settings_options("redis_url", "queues")
def limit(
    settings: Settings,
    as_json: bool,
    new: bool,
    by: str | None,
    why: str | None,
    **given: tuple[Any] | None,
) -> int:
    """Show and set what all workers of a queue may do together.

    Limits are kept in Redis, so that all workers obey the same ones, at once. They hold until they
    are lifted, with `off` in the place of a value. What isn't named stays as it is. Without limits
    among the options, the command shows those that are set, and how much of them is used.

    An order that has to wait for its key lets others go before it. A killed worker's orders count
    until its lease is over.

    \b
    Examples:
      fulfillment-worker limit
      fulfillment-worker limit --rate 10/s --why "the carrier asks for it"
      fulfillment-worker limit --rate 600/m --burst 20 --in-flight 40
      fulfillment-worker limit --per-key customer.id --at-once 1 --key-rate 2/s
      fulfillment-worker limit --rate off --per-key off --queue express,orders
    """
    changes = {name: value[0] for name, value in given.items() if value is not None}
    if changes:
        ask(_set(settings, changes, new, by, why))
    shown = ask(_read(settings, warn=not changes))
    if as_json:
        print_json([_fields(each) for each in shown])
    else:
        click.echo("\n".join(line for each in shown for line in _lines(each, len(shown) > 1)))
    return 0


async def _set(
    settings: Settings, changes: dict[str, Any], new: bool, by: str | None, why: str | None
) -> None:
    what = ", ".join(
        f"{name.replace('_', '-')} {_OFF if value is None else value}"
        for name, value in changes.items()
    )
    async with operators(settings, by, why) as each:
        unknown = [] if new else [name for name in each if not await each[name].is_known()]
        if unknown:
            hint = ", or give --new to limit it before its first order; nothing was changed"
            raise click.ClickException("\n".join(no_such_queue(name) + hint for name in unknown))
        try:
            for operator in each.values():
                operator.check_limits(await operator.limits(), changes)
            for operator in each.values():
                await operator.set_limits(changes, what)
        except ValueError as wrong:
            raise click.UsageError(str(wrong)) from None


async def _read(settings: Settings, *, warn: bool) -> list[Overview]:
    async with inspectors(settings) as all_queues:
        if warn:
            await warn_of_unknown(all_queues)
        return [await inspector.overview() for inspector in all_queues]


def _lines(now: Overview, several: bool) -> list[str]:
    queue = [visible(now.queue)] if several else []
    rows = [*limit_rows(now.limits, now.used, now.in_flight)]
    if not rows:
        return [f"{visible(now.queue)} has no limits"]
    headings = ["QUEUE", *LimitRow._fields] if several else [*LimitRow._fields]
    shown = [[*queue, *row] for row in rows]
    return table([[heading.upper() for heading in headings], *shown], left=len(headings))


def _fields(now: Overview) -> dict[str, Any]:
    limits = now.limits
    return {
        "queue": now.queue,
        "rate": str(limits.rate) if limits.rate else None,
        "burst": limits.largest_burst or None,
        "in_flight": limits.in_flight,
        "per_key": limits.per_key,
        "at_once": limits.at_once,
        "key_rate": str(limits.key_rate) if limits.key_rate else None,
        "key_burst": limits.largest_key_burst or None,
        "used": msgspec.to_builtins(now.used) | {"in_flight": now.in_flight},
    }
