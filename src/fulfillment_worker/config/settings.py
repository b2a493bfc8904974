"""Every setting, declared once: flags, environment variables and the reference come from here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from fulfillment_worker.config.console_token import TOKEN, TOKEN_FILE
from fulfillment_worker.config.environ import (
    PREFIX,
    is_quoted,
    is_service_link,
    trimmed,
    unknown_variables,
)
from fulfillment_worker.config.opentelemetry import wants_traces
from fulfillment_worker.config.values import (
    Choice,
    Duration,
    Field,
    HandlerName,
    Host,
    Location,
    Names,
    Parser,
    PasswordFile,
    RedisUrl,
    Size,
    Whole,
    handlers_by_queue,
)
from fulfillment_worker.core.redaction import quoted, redact_url

_NO_PASSWORD = (
    "it has a user name but no password; a password alone is written :PASS@, "
    "and one from a file is named by FULFILLMENT_REDIS_PASSWORD_FILE"
)


class SettingsError(Exception):
    """Settings that can't be used. faults: all of them, one line each, without secrets."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True)
class SettingSpec:
    """How one setting is given, and what it means.

    default: as users write it; None where there is none.
    also: a variable that is asked where the setting's own is not set.
    """

    flag: str
    parse: Parser[object]
    default: str | None
    help: str
    also: str | None = None

    @property
    def env(self) -> str:
        """The environment variable, which follows from the flag."""
        return PREFIX + self.flag.removeprefix("--").replace("-", "_").upper()

    @property
    def variables(self) -> tuple[str, ...]:
        """All environment variables that can give it, the strongest first."""
        return (self.env, self.also) if self.also else (self.env,)

    def default_value(self) -> object:
        """The default as a value."""
        return None if self.default is None else self.parse(self.default)


def _setting(
    flag: str, parse: Parser[object], default: str | None, help: str, also: str | None = None
) -> Any:
    spec = SettingSpec(flag, parse, default, help, also)
    return field(default_factory=spec.default_value, metadata={"spec": spec})


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Settings:
    """All settings, checked. Durations are in seconds, sizes in bytes."""

    redis_url: RedisUrl = _setting(  # noqa: RUF009 - it is a `field(...)`, and made once
        "--redis-url",
        Location(),
        "redis://127.0.0.1:6379/0",
        "where Redis is; embedded:PATH is a private server that keeps its data in PATH",
        also="REDIS_URL",
    )
    redis_password_file: str | None = _setting(
        "--redis-password-file",
        PasswordFile(),
        None,
        "a file with Redis's password, read anew for each connection, so that it can be rotated",
    )
    queues: tuple[str, ...] = _setting(
        "--queue",
        Names(),
        "orders",
        "the list of orders; several, separated by commas, are served in that order of preference",
    )
    handler: str | None = _setting(
        "--handler",
        HandlerName(),
        None,
        "what fulfils an order, needed by run: package.module:name of a function or a Handler, or "
        "a URL to post it to; several queues may have one each, as orders=shop:fulfil,returns=...",
    )
    concurrency: int = _setting(
        "--concurrency", Whole(1, 100_000), "50", "orders handled at once in one process"
    )
    processes: int = _setting(
        "--processes",
        Whole(1, 256),
        "1",
        "worker processes under one supervisor and one metrics port; one per core uses all cores",
    )
    max_orders_per_process: int | None = _setting(
        "--max-orders-per-process",
        Whole(1, 10**15),
        None,
        "attempts after which a process is replaced by a fresh one; it drains meanwhile",
    )
    max_rss_per_process: int | None = _setting(
        "--max-rss-per-process",
        Size("64MiB", "1024GiB"),
        None,
        "resident memory above which a process is replaced in the same way",
    )
    metrics_host: str = _setting(
        "--metrics-host", Host(), "*", "the interface that serves metrics and probes; * is all"
    )
    metrics_port: int = _setting(
        "--metrics-port",
        Whole(0, 65535),
        "2112",
        "the port that serves metrics and probes; 0 takes any free one",
    )
    order_timeout: float = _setting(
        "--order-timeout", Duration("1ms", "365d"), "60s", "how long one attempt may take"
    )
    max_attempts: int = _setting(
        "--max-attempts", Whole(1, 1_000_000), "5", "failed attempts that make a dead letter"
    )
    max_orphanings: int = _setting(
        "--max-orphanings",
        Whole(1, 1000),
        "3",
        "times that an order may outlive its worker before it is a dead letter",
    )
    retry_base: float = _setting(
        "--retry-base",
        Duration("0", "365d"),
        "1s",
        "longest wait before the second attempt; it doubles with each further one",
    )
    retry_cap: float = _setting(
        "--retry-cap", Duration("0", "365d"), "300s", "longest wait before any attempt"
    )
    max_age: float | None = _setting(
        "--max-age",
        Duration("1s", "3650d"),
        None,
        "an order first seen longer ago is not tried again: it becomes a dead letter",
    )
    not_before_field: str | None = _setting(
        "--not-before-field",
        Field(),
        None,
        "the field with the time before which an order must not start",
    )
    expires_field: str | None = _setting(
        "--expires-field",
        Field(),
        None,
        "the field with the time from which on an order must not start",
    )
    breaker: Literal["on", "off"] = _setting(
        "--breaker",
        Choice(("on", "off")),
        "on",
        "stop claiming while nearly all attempts fail, so that orders wait instead of failing",
    )
    lease: float = _setting(
        "--lease", Duration("200ms", "1d"), "10s", "how long a silent worker keeps its orders"
    )
    shutdown_grace: float = _setting(
        "--shutdown-grace",
        Duration("0", "1d"),
        "25s",
        "how long running orders may take when the worker is told to stop; then they are requeued",
    )
    id_field: str = _setting("--id-field", Field(), "order_id", "the field with the order's id")
    max_order_bytes: int = _setting(
        "--max-order-bytes", Size("16", "512MiB"), "1MiB", "largest order; above it is no order"
    )
    status_ttl: float = _setting(
        "--status-ttl",
        Duration("1s", "3650d"),
        "7d",
        "how long an order's status is kept, and its copies recognised, once it has ended",
    )
    events_ttl: float = _setting(
        "--events-ttl",
        Duration("1s", "3650d"),
        "1d",
        "how long a change of status stays in the stream of events; trimmed as others come",
    )
    log_level: str = _setting(
        "--log-level", Choice(("debug", "info", "warning", "error")), "info", "least level logged"
    )
    log_format: Literal["auto", "json", "console"] = _setting(
        "--log-format",
        Choice(("auto", "json", "console")),
        "auto",
        "auto is console (coloured) on a terminal, and json otherwise",
    )
    # `auto` is off; where the environment asks for traces, `load` makes it `wanted`.
    traces: Literal["auto", "wanted", "otlp", "off"] = _setting(
        "--traces",
        Choice(("auto", "otlp", "off")),
        "auto",
        "a span for each attempt, by OpenTelemetry; auto is otlp where its variables name a place",
    )

    @property
    def supervised(self) -> bool:
        """Whether worker processes are children of a supervisor: several, or replaceable ones."""
        limits = (self.max_orders_per_process, self.max_rss_per_process)
        return self.processes > 1 or any(limit is not None for limit in limits)

    def __repr__(self) -> str:
        # A handler's URL may carry a password; the Redis URL hides its own.
        values = {name: getattr(self, name) for name in SPECS}
        values["handler"] = self.handler and redact_url(self.handler)
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in values.items())})"


SPECS: dict[str, SettingSpec] = {each.name: each.metadata["spec"] for each in fields(Settings)}

VARIABLES = [TOKEN, TOKEN_FILE, *(name for spec in SPECS.values() for name in spec.variables)]
"""All that are known: the console's token is no setting, since no other command may show it."""


def load(
    flags: Mapping[str, str | None], environ: Mapping[str, str], *, required: Collection[str] = ()
) -> Settings:
    """The settings from flags (by field name; None: not given), else variables, else defaults.

    A blank variable counts as not set. required: fields that have no default and must be given.
    Raises SettingsError with all faults at once.
    """
    given = {name: _given(name, spec, flags, environ) for name, spec in SPECS.items()}
    faults = unknown_variables(environ, VARIABLES)
    values: dict[str, Any] = {}
    for name, (source, text) in given.items():
        try:
            values[name] = None if text is None else _parsed(SPECS[name], text)
        except ValueError as why:
            faults.append(_fault(source, text or "", str(why)))
    faults += [_missing(SPECS[name]) for name in required if given[name][1] is None]
    _serve_what_has_handlers(values, given)
    faults += _conflicts(values, given)
    if faults:
        raise SettingsError(faults)
    if values.get("traces") == "auto" and wants_traces(environ):
        values["traces"] = "wanted"
    if values["redis_password_file"]:
        # All that connects goes by the URL alone.
        file = values["redis_password_file"]
        values["redis_url"] = replace(values["redis_url"], password_file=file)
    return Settings(**values)


def _given(
    name: str, spec: SettingSpec, flags: Mapping[str, str | None], environ: Mapping[str, str]
) -> tuple[str, str | None]:
    flag = flags.get(name)
    if flag is not None:
        return spec.flag, flag
    for variable in spec.variables:
        if trimmed(environ.get(variable, "")):
            return variable, environ[variable]
    return spec.env, spec.default


def _parsed(spec: SettingSpec, text: str) -> object:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it is not UTF-8") from None
    text = trimmed(text)
    if is_quoted(text):
        raise ValueError("the quotes are taken as part of the value: write it without them")
    return spec.parse(text)


def _fault(source: str, text: str, why: str) -> str:
    if is_service_link(source, text):
        return (
            f"{source} is {quoted(text)}, which Kubernetes set for a Service of a similar name: "
            "put `enableServiceLinks: false` in the pod's spec, or set the variable there"
        )
    return f"{source} is {quoted(text)}: {why}"


def _missing(spec: SettingSpec) -> str:
    return f"{spec.env} is not set: give {spec.parse.allowed}, there or with {spec.flag}"


def _conflicts(values: Mapping[str, Any], given: Mapping[str, tuple[str, str | None]]) -> list[str]:
    # A value that is faulty itself is not in `values`, and can't be blamed for a second thing.
    return [
        *_login_conflicts(values, given),
        *_cap_below_base(values, given),
        *_queues_without_handlers(values, given),
    ]


def _serve_what_has_handlers(
    values: dict[str, Any], given: Mapping[str, tuple[str, str | None]]
) -> None:
    """Where handlers name their queues, and nothing else does, those are served."""
    named = handlers_by_queue(values.get("handler") or "")
    spec = SPECS["queues"]
    if named and given["queues"] == (spec.env, spec.default):
        values["queues"] = tuple(named)


def _queues_without_handlers(
    values: Mapping[str, Any], given: Mapping[str, tuple[str, str | None]]
) -> list[str]:
    named = handlers_by_queue(values.get("handler") or "")
    if not named or "queues" not in values:
        return []
    (source, _), (of_queues, queues) = given["handler"], given["queues"]
    without = [queue for queue in values["queues"] if queue not in named]
    unserved = [queue for queue in named if queue not in values["queues"]]
    return [
        *(f"{source} has no handler for queue {quoted(each)}: add {each}=..." for each in without),
        *(
            f"{source} has a handler for queue {quoted(each)}, which {of_queues}, {queues}, "
            "doesn't name: add it there, or remove the handler"
            for each in unserved
        ),
    ]


def _login_conflicts(
    values: Mapping[str, Any], given: Mapping[str, tuple[str, str | None]]
) -> list[str]:
    url = values.get("redis_url")
    if url is None or "redis_password_file" not in values:
        return []
    (source, text), (of_file, file) = given["redis_url"], given["redis_password_file"]
    if url.password and file:
        return [f"{source} has a password, and {of_file} names a file with one: remove either"]
    if url.username and url.password is None and not file:
        return [_fault(source, text or "", _NO_PASSWORD)]
    return []


def _cap_below_base(
    values: Mapping[str, Any], given: Mapping[str, tuple[str, str | None]]
) -> list[str]:
    if values.get("retry_base", 0) <= values.get("retry_cap", float("inf")):
        return []
    (base, base_text), (cap, cap_text) = given["retry_base"], given["retry_cap"]
    return [
        f"{base} is {base_text}, which is above {cap}, {cap_text}: "
        "the cap bounds the base, so lower the one or raise the other"
    ]
