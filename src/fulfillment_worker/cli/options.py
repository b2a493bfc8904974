"""Options of commands: settings from their declarations, and the commands' own."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection
from typing import Any

import click

from fulfillment_worker.config.settings import SPECS, Settings, SettingsError, SettingSpec, load
from fulfillment_worker.config.values import Parser
from fulfillment_worker.core.redaction import quoted

_FAULTS = "fulfillment_worker.faults"

Command = Callable[..., Any]


class Unusable(click.ClickException):
    """Wrong usage or settings: one line for each fault."""

    exit_code = 2


def settings_options(*names: str, required: Collection[str] = ()) -> Callable[[Command], Command]:
    """Give a command the flags of these settings, and all settings as its argument `settings`.

    One that takes the address takes its password as well.
    click takes the flags as plain text, so that all faults are reported at once.
    """

    if "redis_url" in names and "redis_password_file" not in names:
        return settings_options("redis_password_file", *names, required=required)

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_settings(**given: Any) -> Any:
            flags = {name: given.pop(name) for name in names}
            return command(settings=_settings(flags, required), **given)

        decorated: Command = with_settings
        for name in reversed(names):
            decorated = _flag(name, SPECS[name])(decorated)
        return decorated

    return decorate


def own_option(
    flag: str, parse: Parser[object], default: str | None, help: str
) -> Callable[[Command], Command]:
    """An option of the command alone, whose faults are reported with those of the settings."""
    return click.option(
        flag, type=_Checked(parse), default=default, help=f"{help}{_default(default)}"
    )


class _Checked(click.ParamType[object]):
    """Notes what is wrong, instead of failing at the first fault."""

    name = "text"

    def __init__(self, parse: Parser[object]) -> None:
        self._parse = parse

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,  # noqa: ARG002 - click's interface
    ) -> object:
        try:
            return self._parse(str(value).strip())
        except ValueError as why:
            option = param.opts[0] if param else "an option"
            _faults().append(f"{option} is {quoted(str(value))}: {why}")
            return None


def _settings(flags: dict[str, str | None], required: Collection[str]) -> Settings:
    faults = _faults()
    try:
        settings = load(flags, os.environ, required=required)
    except SettingsError as error:
        raise Unusable("\n".join([*faults, *error.faults])) from None
    if faults:
        raise Unusable("\n".join(faults))
    return settings


def _faults() -> list[str]:
    faults: list[str] = click.get_current_context().meta.setdefault(_FAULTS, [])
    return faults


def _flag(name: str, spec: SettingSpec) -> Callable[[Command], Command]:
    variables = " or ".join(spec.variables)
    return click.option(
        spec.flag,
        name,
        default=None,
        metavar="TEXT",
        help=f"{spec.help}{_default(spec.default)}  [{variables}]",
    )


def _default(text: str | None) -> str:
    return "" if text is None else f"  [default: {text}]"
