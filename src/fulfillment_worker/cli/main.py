"""The command `fulfillment-worker`.

Exit codes: 0 done; 1 failed; 2 wrong usage or settings; 3 the metrics port can't be bound.
"""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from fulfillment_worker.cli.terminal import complain
from fulfillment_worker.config.environ import drop_unusable

PROGRAM = "fulfillment-worker"

# Each is a module of its own beside this one, loaded only when it is called: `run` must stay small,
# and `--help` quick.
COMMANDS = {
    "run": "Consume orders until told to stop.",
    "demo": "See it work, with nothing to set up.",
    "enqueue": "Put orders on the queue.",
    "status": "Tell where orders are, and what they have been through.",
    "queue": "Show how the queue stands.",
    "console": "Serve the web console.",
    "events": "Print the changes of status, and follow them.",
    "doctor": "Check Redis, permissions, clocks and settings.",
    "dead": "Look at dead letters, correct them, retry them or drop them.",
    "hold": "Keep orders from being handled, wherever they are.",
    "release": "Let held orders go on.",
    "cancel": "End orders, wherever they are.",
    "pause": "Keep all workers from claiming orders.",
    "resume": "Let workers claim orders again.",
    "limit": "Show and set what all workers may do together.",
    "erase": "Remove every byte of orders from Redis.",
    "audit": "Tell what operators did, when and why.",
    "monitoring": "Write rules and alerts for Prometheus, and a dashboard for Grafana.",
}


# Commands deal with the files that they read and write: what is left is their output's.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _write_nowhere() -> None:
    # Python writes what is left in its buffer when it exits, and would complain once more.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class App(click.Group):
    """A group that reports every error as lines that name the program, and no traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click calls it
        """The names, in the order in which one meets them."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> click.Command | None:
        """The command, loaded now."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"{__package__}.{cmd_name}"), cmd_name)
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the list of commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run a command and exit with its code."""
        for line in drop_unusable(os.environ):
            complain(line)
        options.update(prog_name=PROGRAM, standalone_mode=False)
        try:
            code = super().main(*args, **options)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except click.ClickException as error:
            complain(error.format_message())
            code = error.exit_code
        except click.Abort:  # Ctrl-C
            code = 1
        except OSError as error:
            if error.errno not in _FULL:
                raise
            complain(f"the output can't be written: {os.strerror(error.errno)}")
            _write_nowhere()
            code = 1
        sys.exit(code)


@click.group(
    cls=App,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name=PROGRAM, message="%(package)s %(version)s")
def main() -> None:
    """Takes orders off a Redis list, runs your shop's fulfilment on each, and never loses one.

    \b
    Try it, with nothing to set up:   fulfillment-worker demo
    Run your own:                     fulfillment-worker run --handler shop.orders:fulfil

    Every setting has a flag and an environment variable: see `fulfillment-worker run --help`.
    """
