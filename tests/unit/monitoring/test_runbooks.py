"""Each alert has a runbook; what it tells to type exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from fulfillment_worker.cli.main import main
from fulfillment_worker.monitoring.alert import Alert
from fulfillment_worker.monitoring.alerts import ALERTS

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "runbooks.md").read_text()
PARTS = ("Means.", "Customers notice.", "See the cause.", "Do.")
# Programs of others that whoever is paged has at hand.
TOOLS = {"curl", "redis-cli", "ls", "amtool"}


def section(alert: Alert) -> str:
    """The runbook; its heading makes the anchor that the alert links to."""
    found = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
    (runbook,) = (each for each in found if each.partition("\n")[0].lower() == alert.anchor)
    return runbook


EACH = pytest.mark.parametrize("alert", ALERTS, ids=[alert.name for alert in ALERTS])


@EACH
def test_it_says_what_it_means_what_customers_notice_how_to_see_why_and_what_to_do(
    alert: Alert,
) -> None:
    told = re.findall(r"^\*\*(.+?)\*\*", section(alert), re.MULTILINE)
    assert tuple(told) == PARTS


@EACH
def test_the_cause_can_be_seen_by_what_it_tells_to_type(alert: Alert) -> None:
    cause = section(alert).partition("**See the cause.**")[2].partition("**Do.**")[0]
    assert "```console" in cause
    assert "```promql" in cause


def test_there_is_no_runbook_without_an_alert() -> None:
    headings = set(re.findall(r"^## (.+)$", TEXT, re.MULTILINE))
    assert headings == {alert.name for alert in ALERTS}


def test_every_command_exists_down_to_its_last_option() -> None:
    lines = re.findall(r"^\$ (.+)$", TEXT, re.MULTILINE)
    spans = re.findall(r"`(fulfillment-worker [^`]+)`", TEXT)
    ours = [shlex.split(line)[1:] for line in (*lines, *spans) if line.startswith("fulfil")]
    for arguments in ours:
        check(main, arguments)
    others = {shlex.split(line)[0] for line in lines} - {"fulfillment-worker"}
    assert others <= TOOLS
    assert len(ours) > 30


def check(command: click.Command, arguments: list[str]) -> None:
    """Fail where a subcommand, an option or an argument is none."""
    context = click.Context(command)
    if isinstance(command, click.Group):
        inner = command.get_command(context, arguments[0])
        assert inner is not None, arguments
        check(inner, arguments[1:])
    else:
        command.make_parser(context).parse_args(arguments)


def test_commands_that_do_not_exist_are_seen() -> None:
    with pytest.raises(click.NoSuchOption):
        check(main, ["dead", "list", "--reason", "orphaned"])
    with pytest.raises(AssertionError):
        check(main, ["dead", "bury"])
