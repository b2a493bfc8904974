"""`fulfillment-worker dead edit`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import click
import msgspec

from fulfillment_worker.admin.operator import Edited
from fulfillment_worker.admin.rules.causes import DeadLetter
from fulfillment_worker.admin.rules.editing import (
    as_before,
    difference,
    fault_of,
    id_of,
    readable,
    with_fields,
)
from fulfillment_worker.cli.clients import ask, audited, operators
from fulfillment_worker.cli.editor import Draft, find_editor
from fulfillment_worker.cli.options import Unusable, settings_options
from fulfillment_worker.cli.selection import choose_named, meant
from fulfillment_worker.cli.terminal import coloured, print_json
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.core.redaction import quoted
from fulfillment_worker.core.text import visible

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@dataclass(frozen=True)
class _Letter:
    letter: DeadLetter
    raw: bytes

    @property
    def name(self) -> str:
        of = f" of {visible(self.letter.order_id)}" if self.letter.order_id else ""
        return f"letter {self.letter.number}{of}"


@click.command()
@click.argument("wanted", metavar="LETTER")
@click.option("--set", "fields", metavar="FIELD=JSON", multiple=True, help="set a field, unasked")
@click.option("--file", type=click.File("rb", lazy=False), help="take the order from FILE, or -")
@click.option("--yes", is_flag=True, help="replace it without asking")
@click.option("--dry-run", is_flag=True, help="tell what would change, and do nothing")
@click.option("--json", "as_json", is_flag=True, help="print the result as JSON")
@audited
@settings_options("redis_url", "queues", "id_field", "max_order_bytes")
def edit(
    settings: Settings,
    wanted: str,
    fields: tuple[str, ...],
    file: IO[bytes] | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    by: str | None,
    why: str | None,
) -> int:
    """Correct the order of a dead letter: in $VISUAL or $EDITOR, or by --set or --file.

    It shows the difference, and asks. The order keeps its id; a letter whose bytes had none gets
    the id that is in them now. The bytes of before are kept for a week, with the line in the audit.
    The letter stays a dead letter: retry it then.

    \b
    Examples:
      fulfillment-worker dead edit A-1001 --why "address corrected"
      fulfillment-worker dead edit A-1001 --set ship_to.zip='"10115"' --yes
      fulfillment-worker dead edit letter:17 --file corrected.json
    """
    _check(fields, file, yes or dry_run)
    found = ask(_find(settings, wanted))
    with _edited(found, fields, file) as new:
        _judge(settings, found, new)
        if not as_json:
            click.echo("\n".join(_difference(found.raw, new)))
        if not dry_run:
            _confirm(found, new, yes, as_json)
            order_id = id_of(new, id_field=settings.id_field)
            _tell_outcome(found, ask(_replace(settings, found, new, order_id, by, why)))
    if as_json:
        print_json(_result(found, new, dry_run))
    elif dry_run:
        click.echo(f"would edit {found.name}")
    else:
        click.echo(
            f"edited {found.name}; now retry it: fulfillment-worker dead retry "
            f"letter:{found.letter.number}"
        )
    return 0


def _check(fields: tuple[str, ...], file: IO[bytes] | None, unasked: bool) -> None:
    if fields and file:
        raise Unusable("--set and --file were given: give one of them")
    if file and file.name in ("-", "<stdin>") and not unasked:
        raise Unusable("--file - reads the standard input, so nobody can be asked: give --yes")


async def _find(settings: Settings, wanted: str) -> _Letter:
    async with operators(settings) as each:
        chosen = choose_named(await meant(each.values(), (wanted,)), [wanted])
        if len(chosen.letters) > 1:
            names = [f"letter:{letter.number}" for letter in chosen.letters[:5]]
            more = ", …" if len(chosen.letters) > len(names) else ""
            raise Unusable(
                f"{quoted(wanted)} is {len(chosen.letters)} dead letters, and one is edited at a "
                f"time: say which ({', '.join(names)}{more})"
            )
        for letter in chosen.letters:
            raw = await each[letter.queue].read(letter.number)
            if raw is not None:
                return _Letter(letter, raw)
    raise click.ClickException("nothing was edited")


@contextmanager
def _edited(found: _Letter, fields: tuple[str, ...], file: IO[bytes] | None) -> Iterator[bytes]:
    """The new bytes. A text that somebody wrote stays in a file where it could not be used."""
    if fields:
        try:
            new = with_fields(found.raw, list(fields))
        except ValueError as error:
            raise Unusable(f"--set {error}") from None
        yield as_before(found.raw, new)
        return
    text = readable(found.raw)
    draft: Draft | None = None
    try:
        if file is None:
            command = find_editor(os.environ)
            draft = Draft(f"letter-{found.letter.number}", text)
            after = draft.edit(command)
            yield found.raw if after == text else as_before(found.raw, after)
        else:
            after = file.read()
            if file.name in ("-", "<stdin>"):
                draft = Draft(f"letter-{found.letter.number}", after)
            yield after.strip()
    except (click.ClickException, click.Abort, KeyboardInterrupt) as error:
        kept = _kept(draft, text)
        why = error.message if isinstance(error, click.ClickException) else "interrupted"
        raise click.ClickException(f"{why}; {kept}") from None
    if draft:
        draft.discard()


def _kept(draft: Draft | None, before: bytes) -> str:
    """What to say of the letter, and of the text, where the letter was not replaced."""
    if draft is None:
        return "nothing was replaced"
    try:
        is_new = draft.read() != before
    except click.ClickException:
        return "nothing was replaced"
    if not is_new:
        draft.discard()
        return "nothing was replaced"
    return f"nothing was replaced; the edited text is kept in {draft.path}, to be given with --file"


def _judge(settings: Settings, found: _Letter, new: bytes) -> None:
    if new == found.raw:
        raise click.ClickException(f"nothing was changed in {found.name}")
    fault = fault_of(
        new,
        found.letter.order_id,
        id_field=settings.id_field,
        max_bytes=settings.max_order_bytes,
    )
    if fault:
        raise click.ClickException(visible(fault))


def _confirm(found: _Letter, new: bytes, yes: bool, as_json: bool) -> None:
    if yes:
        return
    if as_json:
        click.echo("\n".join(_difference(found.raw, new)), err=True)
    try:
        agreed = click.confirm(f"Replace the bytes of {found.name}?", err=True)
    except click.Abort:
        raise click.ClickException("nobody answered: give --yes") from None
    if not agreed:
        raise click.ClickException("the answer was no")


async def _replace(
    settings: Settings,
    found: _Letter,
    new: bytes,
    order_id: str,
    by: str | None,
    why: str | None,
) -> Edited:
    async with operators(settings, by, why) as each:
        operator = each[found.letter.queue]
        return await operator.edit_dead(found.letter.number, found.raw, new, order_id)


def _tell_outcome(found: _Letter, edited: Edited) -> None:
    """Raise ClickException where the letter was not replaced."""
    match edited:
        case Edited.GONE:
            why = f"{found.name} was retried, dropped or erased meanwhile"
        case Edited.CHANGED:
            why = f"somebody else edited {found.name} meanwhile: look at it, and edit it again"
        case Edited.DAMAGED:
            why = f"the header of {found.name} is damaged: take its bytes (dead show --raw), and "
            why += "place the order anew"
        case Edited.DONE:
            return
    raise click.ClickException(why)


def _difference(old: bytes, new: bytes) -> Iterator[str]:
    for line in difference(old, new):
        yield coloured(visible(line), fg=_COLOURS.get(line[:1]))


def _result(found: _Letter, new: bytes, dry_run: bool) -> dict[str, Any]:
    told = msgspec.to_builtins(found.letter)
    return {
        "edited": 0 if dry_run else 1,
        "dry_run": dry_run,
        "queue": told["queue"],
        "number": told["number"],
        "order_id": told["order_id"],
        "size": {"before": len(found.raw), "after": len(new)},
        "difference": difference(found.raw, new),
    }
