"""`fulfillment-worker console`."""

from __future__ import annotations

import os
from importlib.util import find_spec

import click

from fulfillment_worker.cli.clients import myself
from fulfillment_worker.cli.options import Unusable, own_option, settings_options
from fulfillment_worker.config.console_token import TOKEN, TOKEN_FILE, console_token
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.config.values import Host, HostNames, Rights, Whole
from fulfillment_worker.console.access import NEEDS, RIGHTS, Options, is_loopback
from fulfillment_worker.system.streams import make_streams_safe


@click.command()
@own_option("--host", Host(), "127.0.0.1", "the address to listen on; * is all interfaces")
@own_option("--port", Whole(0, 65535), "8080", "the port to listen on; 0 takes any free one")
@own_option(
    "--allow",
    Rights(RIGHTS),
    None,
    f"what may be done: some of {', '.join(RIGHTS)}, or all  [default: only looking]",
)
@own_option(
    "--server-name",
    HostNames(),
    None,
    "further names that browsers reach it by, separated by commas, such as that of a proxy",
)
@settings_options("redis_url", "queues", "id_field", "status_ttl")
def console(
    settings: Settings,
    host: str,
    port: int,
    allow: frozenset[str] | None,
    server_name: tuple[str, ...] | None,
) -> int:
    """Serve the web console: how queues stand, where an order is, and what died of what.

    It only shows, and only to this machine, unless told otherwise. On another address people sign
    in with a token of at least 16 characters, from FULFILLMENT_CONSOLE_TOKEN or from the file that
    FULFILLMENT_CONSOLE_TOKEN_FILE names. What is done is audited with their names. Where
    --allow has hold, people may release as well; where it has pause, resume.

    \b
    Examples:
      fulfillment-worker console
      fulfillment-worker console --port 9000 --queue express,orders
      fulfillment-worker console --allow retry,hold
      FULFILLMENT_CONSOLE_TOKEN_FILE=/run/secrets/console fulfillment-worker console \\
        --host '*' --server-name console.shop.example --allow all
    """
    make_streams_safe()
    try:
        token = console_token(os.environ)
    except ValueError as error:
        raise Unusable(str(error)) from None
    if token is None and not is_loopback(host):
        raise Unusable(
            f"--host is {host or '*'}, which others can reach: set {TOKEN} to a token of at least "
            f"16 characters, or name a file with one in {TOKEN_FILE}"
        )
    lacking = [name for name in NEEDS if find_spec(name) is None]
    if lacking:
        raise Unusable(
            f"the console needs the package {lacking[0]}: pip install 'fulfillment-worker[console]'"
        )
    from fulfillment_worker.console.serve import serve  # noqa: PLC0415 - --help stays quick

    options = Options(host, port, allow or frozenset(), token, server_name or (), myself())
    return serve(settings, options)
