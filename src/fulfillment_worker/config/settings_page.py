"""The reference page of the settings, derived from their declarations."""

from __future__ import annotations

from fulfillment_worker.config.settings import SPECS, SettingSpec

_HEAD = """\
# Settings

<!-- Generated: python -m fulfillment_worker.config.settings_page > docs/settings.md -->

A setting comes from its flag, else from its environment variable, else it has its default.
A variable that is blank counts as not set. All faults are reported at once, and a variable that
begins with `FULFILLMENT_` but is no setting is one of them. White space, line ends and a byte
order mark around a value are left out; a value in quotes is a fault, since a shell takes quotes off
and `docker --env-file` does not. Variables that Kubernetes sets for
Services (`FULFILLMENT_…_SERVICE_HOST`, `FULFILLMENT_…_PORT=tcp://…`) are ignored.
`FULFILLMENT_CONSOLE_TOKEN` and `FULFILLMENT_CONSOLE_TOKEN_FILE` are for the [console](console.md)
alone, and have no flag: a process's arguments can be seen by others.

Durations are seconds (`0.5`, `60`) or have a unit (`250ms`, `10s`, `5m`, `2h`, `7d`). Sizes are
bytes or have a unit (`64KiB`, `1MiB`).

| variable | flag | default | meaning |
| --- | --- | --- | --- |
"""

_TAIL = """
## Allowed values

"""

_REDIS = """
## Redis URLs

| form | means |
| --- | --- |
| `redis://[USER:PASSWORD@]HOST[:PORT][/DB]` | one server |
| `rediss://…` | the same over TLS; options below |
| `unix://[USER:PASSWORD@]/PATH/TO/SOCKET[?db=DB]` | one server on this machine |
| `redis+sentinel://[USER:PASSWORD@]HOST[:PORT],…/SERVICE[/DB]` | the server that sentinels name |
| `rediss+sentinel://…` | the same, with TLS to the sentinels and to the server |
| `redis+cluster://[USER:PASSWORD@]HOST[:PORT],…` | a cluster, by some of its nodes |
| `rediss+cluster://…` | the same over TLS |
| `embedded:PATH` | a private server that keeps its data in the directory PATH |

A password alone is written `:PASSWORD@`. In user names and passwords, `/`, `?`, `@` and `%` are
written `%2F`, `%3F`, `%40` and `%25`. Neither is ever printed. A password that comes from
`FULFILLMENT_REDIS_PASSWORD_FILE` is left out of the URL, where a user name alone is `USER@`.

The forms with TLS take the options `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile` (paths),
`ssl_cert_reqs` (`none`, `optional` or `required`) and `ssl_check_hostname` (`true` or `false`), as
in `rediss://redis.example:6380/0?ssl_ca_certs=/etc/ssl/shop.pem`.
"""


def render() -> str:
    """The page, in Markdown."""
    rows = "".join(map(_row, SPECS.values()))
    allowed = "".join(f"- `{spec.env}`: {spec.parse.allowed}.\n" for spec in SPECS.values())
    return f"{_HEAD}{rows}{_TAIL}{allowed}{_REDIS}"


def _row(spec: SettingSpec) -> str:
    also = f" (else `{spec.also}`)" if spec.also else ""
    default = "none" if spec.default is None else f"`{spec.default}`"
    return f"| `{spec.env}`{also} | `{spec.flag}` | {default} | {spec.help} |\n"


if __name__ == "__main__":
    print(render(), end="")  # noqa: T201 - the page is what this prints
