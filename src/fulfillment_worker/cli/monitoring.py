"""`fulfillment-worker monitoring`."""

from __future__ import annotations

import re
from pathlib import Path

import click

from fulfillment_worker.cli.options import own_option, settings_options
from fulfillment_worker.cli.terminal import complain, print_json
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.config.values import Choice, Duration, Number
from fulfillment_worker.monitoring.target import Target
from fulfillment_worker.monitoring.write import Foreign, files, write
from fulfillment_worker.observability.catalogue import END_TO_END_BUCKETS

_DEFAULT = Target()
_LONGEST = 256


class _Text:
    """Printable text. allowed: what it is."""

    def __init__(self, allowed: str) -> None:
        self.allowed = f"{allowed}, of 1 to {_LONGEST} characters without control characters"

    def __call__(self, text: str) -> str:
        if not (0 < len(text) <= _LONGEST and text.isprintable()):
            raise ValueError(f"give {self.allowed}")
        return text


class _Selectors:
    """More labels of the job's series."""

    allowed = (
        "LABEL=VALUE, several separated by commas, each label once and none of job, instance, "
        "queue, process, pod, container, endpoint, le or severity"
    )
    _taken = frozenset(
        {"job", "instance", "queue", "process", "pod", "container", "endpoint", "le", "severity"}
    )

    def __call__(self, text: str) -> tuple[tuple[str, str], ...]:
        pairs = [self._pair(each) for each in text.split(",")]
        if len(dict(pairs)) < len(pairs):
            raise ValueError(f"give {self.allowed}")
        return tuple(pairs)

    def _pair(self, text: str) -> tuple[str, str]:
        name, _, value = (part.strip() for part in text.partition("="))
        named = re.fullmatch(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", name) and name not in self._taken
        if not (named and value and value.isprintable()):
            raise ValueError(f"give {self.allowed}")
        return name, value


class _Bound:
    """A time that the end-to-end histogram can tell."""

    _bounds = tuple(each for each in END_TO_END_BUCKETS if each >= 1)
    allowed = f"one of {', '.join(f'{each:g}' for each in _bounds)} seconds"

    def __call__(self, text: str) -> float:
        try:
            seconds = Duration("1s", "7d")(text)
        except ValueError:
            seconds = 0.0
        if seconds not in self._bounds:
            raise ValueError(f"give {self.allowed}: orders are counted at these bounds only")
        return seconds


# From 95 on, since the fastest burn that is looked for is 14.4 times the budget.
_OBJECTIVE = Number(95, 99.999)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@own_option("--job", _Text("the name of the scrape job"), _DEFAULT.job, "job label of the workers")
@own_option("--selector", _Selectors(), None, "more labels that they have: namespace=shop,…")
@own_option(
    "--error-objective",
    _OBJECTIVE,
    f"{_DEFAULT.error_objective:g}",
    "per cent of the attempts that are to succeed",
)
@own_option(
    "--late-objective",
    _OBJECTIVE,
    f"{_DEFAULT.late_objective:g}",
    "per cent of the orders that are to be fulfilled in time",
)
@own_option(
    "--late-after",
    _Bound(),
    f"{_DEFAULT.late_after:g}s",
    "what in time means, from enqueued to fulfilled",
)
@own_option(
    "--runbooks",
    _Text("a path or a URL"),
    _DEFAULT.runbooks,
    "where alerts lead to, without the anchor",
)
@own_option(
    "--scaled-object",
    _Text("the name of a ScaledObject"),
    None,
    "of KEDA, where it may scale the workers to none",
)
@own_option(
    "--format",
    Choice(("files", "prometheusrule")),
    "files",
    "rule files, or a PrometheusRule for the Prometheus Operator",
)
@click.option("--force", is_flag=True, help="overwrite files that this command did not write")
@click.option("--json", "as_json", is_flag=True, help="print a JSON list of the files")
@settings_options("queues", "processes")
def monitoring(
    settings: Settings,
    folder: Path,
    selector: tuple[tuple[str, str], ...] | None,
    scaled_object: str | None,
    format: str,
    force: bool,
    as_json: bool,
    **own: object,
) -> int:
    """Write recording rules, alerts and a dashboard for this deployment into DIR.

    They need no Redis and no worker: only the names by which Prometheus knows the workers. Files
    of an earlier call are written anew; anything else is left alone, unless --force is given.

    \b
    Examples:
      fulfillment-worker monitoring ./monitoring
      fulfillment-worker monitoring ./monitoring --job shop-worker --selector namespace=shop
      fulfillment-worker monitoring ./monitoring --error-objective 99.5 --late-after 5m
      fulfillment-worker monitoring ./monitoring --format prometheusrule --json
    """
    processes = settings.processes if settings.supervised else 0
    target = Target(
        queues=settings.queues,
        processes=processes,
        selectors=selector or (),
        scaled_object=scaled_object or "",
        **own,  # type: ignore[arg-type]
    )
    try:
        written = write(folder, files(target, operator=format == "prometheusrule"), force=force)
    except Foreign as foreign:
        complain(f"not written by this command: {foreign}; give another DIR, or --force")
        return 1
    except OSError as error:
        complain(f"{error.filename or folder} can't be written: {error.strerror or error}")
        return 1
    if as_json:
        print_json([str(path) for path in written])
    else:
        click.echo("\n".join(f"wrote {path}" for path in written))
    return 0
