"""A flag, else the variable, else the default; and every fault at once."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from fulfillment_worker.config.password_file import read_password
from fulfillment_worker.config.redis_url import RedisUrl, Scheme
from fulfillment_worker.config.settings import SPECS, Settings, SettingsError, load
from fulfillment_worker.config.settings_page import render

VARIABLE = "FULFILLMENT_REDIS_PASSWORD_FILE"

# As the contract has them: variable, flag, default.
CONTRACT = {
    "FULFILLMENT_REDIS_URL": ("--redis-url", "redis://127.0.0.1:6379/0"),
    "FULFILLMENT_REDIS_PASSWORD_FILE": ("--redis-password-file", None),
    "FULFILLMENT_QUEUE": ("--queue", "orders"),
    "FULFILLMENT_HANDLER": ("--handler", None),
    "FULFILLMENT_CONCURRENCY": ("--concurrency", "50"),
    "FULFILLMENT_PROCESSES": ("--processes", "1"),
    "FULFILLMENT_MAX_ORDERS_PER_PROCESS": ("--max-orders-per-process", None),
    "FULFILLMENT_MAX_RSS_PER_PROCESS": ("--max-rss-per-process", None),
    "FULFILLMENT_METRICS_HOST": ("--metrics-host", "*"),
    "FULFILLMENT_METRICS_PORT": ("--metrics-port", "2112"),
    "FULFILLMENT_ORDER_TIMEOUT": ("--order-timeout", "60s"),
    "FULFILLMENT_MAX_ATTEMPTS": ("--max-attempts", "5"),
    "FULFILLMENT_MAX_ORPHANINGS": ("--max-orphanings", "3"),
    "FULFILLMENT_RETRY_BASE": ("--retry-base", "1s"),
    "FULFILLMENT_RETRY_CAP": ("--retry-cap", "300s"),
    "FULFILLMENT_MAX_AGE": ("--max-age", None),
    "FULFILLMENT_NOT_BEFORE_FIELD": ("--not-before-field", None),
    "FULFILLMENT_EXPIRES_FIELD": ("--expires-field", None),
    "FULFILLMENT_BREAKER": ("--breaker", "on"),
    "FULFILLMENT_LEASE": ("--lease", "10s"),
    "FULFILLMENT_SHUTDOWN_GRACE": ("--shutdown-grace", "25s"),
    "FULFILLMENT_ID_FIELD": ("--id-field", "order_id"),
    "FULFILLMENT_MAX_ORDER_BYTES": ("--max-order-bytes", "1MiB"),
    "FULFILLMENT_STATUS_TTL": ("--status-ttl", "7d"),
    "FULFILLMENT_EVENTS_TTL": ("--events-ttl", "1d"),
    "FULFILLMENT_LOG_LEVEL": ("--log-level", "info"),
    "FULFILLMENT_LOG_FORMAT": ("--log-format", "auto"),
    "FULFILLMENT_TRACES": ("--traces", "auto"),
}


def faults(flags: dict[str, str | None], environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(flags, environ)
    return caught.value.faults


def only_fault(flags: dict[str, str | None], environ: dict[str, str]) -> str:
    (fault,) = faults(flags, environ)
    return fault


def test_names_and_defaults_are_the_contracts() -> None:
    assert {spec.env: (spec.flag, spec.default) for spec in SPECS.values()} == CONTRACT


def test_defaults_are_values() -> None:
    settings = load({}, {})
    assert settings == Settings()
    assert settings.redis_url == RedisUrl(Scheme.TCP, hosts=(("127.0.0.1", 6379),))
    assert (settings.queues, settings.handler) == (("orders",), None)
    assert (settings.order_timeout, settings.lease, settings.status_ttl) == (60, 10, 604800)
    assert (settings.max_order_bytes, settings.metrics_host) == (1048576, "")


def test_a_flag_beats_the_variable_and_that_the_default() -> None:
    environ = {"FULFILLMENT_LEASE": "20", "FULFILLMENT_CONCURRENCY": " 7\n"}
    settings = load({"lease": "500ms", "concurrency": None}, environ)
    assert (settings.lease, settings.concurrency, settings.max_attempts) == (0.5, 7, 5)


@pytest.mark.parametrize(
    "text", ["a,b", " a,b\t", "a,b\r", "a,b\r\n", "\ufeffa,b", "\ufeff a,b\xa0"]
)
def test_value_loses_white_space_and_byte_order_marks_around_it(text: str) -> None:
    assert load({}, {"FULFILLMENT_QUEUE": text}).queues == ("a", "b")


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("quotes", ['""', "''", "\u201c\u201d"])
def test_value_in_quotes_is_a_fault_that_names_its_variable(name: str, quotes: str) -> None:
    variable, text = SPECS[name].env, f"{quotes[0]}{SPECS[name].default or '1'}{quotes[1]}"
    why = "the quotes are taken as part of the value: write it without them"
    for value in (text, f" {text}\r"):
        assert only_fault({}, {variable: value}).startswith(f"{variable} is ")
        assert only_fault({}, {variable: value}).endswith(why)
    assert only_fault({name: text}, {}).endswith(why)


def test_value_in_quotes_shows_no_secret() -> None:
    fault = only_fault({}, {"FULFILLMENT_REDIS_URL": '"redis://:hunter2@redis:6379/0"'})
    assert fault.startswith("FULFILLMENT_REDIS_URL is ")
    assert "hunter2" not in fault


def test_quotes_within_a_value_are_its_own() -> None:
    assert load({}, {"FULFILLMENT_QUEUE": "a\"b,'c"}).queues == ('a"b', "'c")


def test_variable_with_a_byte_order_mark_before_its_name_is_a_fault() -> None:
    """As the first line of a file that Windows saved has it, for who reads it to the letter."""
    fault = only_fault({}, {"\ufeffFULFILLMENT_QUEUE": "express", "\ufeffPATH": "/bin"})
    assert fault.startswith("FULFILLMENT_QUEUE has a byte order mark before it")


@pytest.mark.parametrize("blank", ["", "  ", "\n", "\r", "\ufeff"])
def test_a_blank_variable_is_not_set(blank: str) -> None:
    assert load({}, {"FULFILLMENT_LEASE": blank}).lease == 10
    environ = {"FULFILLMENT_REDIS_URL": blank, "REDIS_URL": "redis://other:1"}
    assert load({}, environ).redis_url.hosts == (("other", 1),)


def test_our_own_url_beats_the_common_one() -> None:
    environ = {"FULFILLMENT_REDIS_URL": "redis://ours", "REDIS_URL": "rubbish"}
    assert load({}, environ).redis_url.hosts == (("ours", 6379),)


def test_all_faults_come_at_once() -> None:
    found = faults(
        {"lease": "10x", "processes": "0", "queues": ""},
        {
            "REDIS_URL": "redis://:hunter2@h:x",
            "FULFILLMENT_QUEUES": "a",
            "FULFILLMENT_ID_FIELD": "created_at",
            "FULFILLMENT_RETRY_BASE": "600",
        },
    )
    assert [fault.split(" is ")[0] for fault in found] == [
        "FULFILLMENT_QUEUES",
        "REDIS_URL",
        "--queue",
        "--processes",
        "--lease",
        "FULFILLMENT_ID_FIELD",
        "FULFILLMENT_RETRY_BASE",
    ]
    assert all("\n" not in fault for fault in found)
    assert "hunter2" not in "".join(found)


def test_a_fault_names_the_setting_the_value_and_what_to_do() -> None:
    assert only_fault({}, {"FULFILLMENT_LEASE": "10x"}) == (
        "FULFILLMENT_LEASE is '10x': give seconds (0.5, 60) or a number with a unit "
        "(250ms, 10s, 5m, 2h, 7d), from 200ms to 1d"
    )


def test_a_required_setting_that_is_missing_is_a_fault_like_others() -> None:
    with pytest.raises(SettingsError) as caught:
        load({"lease": "x"}, {}, required=("handler",))
    assert len(caught.value.faults) == 2
    assert "FULFILLMENT_HANDLER is not set: give package.module:function" in str(caught.value)


def test_the_base_of_the_back_off_is_not_above_its_cap() -> None:
    fault = only_fault({"retry_cap": "10s"}, {"FULFILLMENT_RETRY_BASE": "1m"})
    assert fault.startswith("FULFILLMENT_RETRY_BASE is 1m, which is above --retry-cap, 10s")
    assert load({"retry_cap": "10s", "retry_base": "10"}, {}).retry_base == 10


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("hunter2\n")
    return path


def test_password_file_goes_with_the_address(secret: Path) -> None:
    environ = {"FULFILLMENT_REDIS_URL": "redis://worker@h", VARIABLE: str(secret)}
    url = load({}, environ).redis_url
    assert (url.username, url.password, url.password_file) == ("worker", None, str(secret))
    assert "hunter2" not in repr(load({}, environ))


@pytest.mark.parametrize("flag", [None, "redis://:hunter2@h"])
def test_password_given_twice_is_a_fault(secret: Path, flag: str | None) -> None:
    environ = {"REDIS_URL": "redis://:hunter2@h", VARIABLE: str(secret)}
    fault = only_fault({"redis_url": flag}, environ)
    source = "--redis-url" if flag else "REDIS_URL"
    assert fault == f"{source} has a password, and {VARIABLE} names a file with one: remove either"


def test_password_is_missing_beside_a_user_name() -> None:
    fault = only_fault({"redis_url": "redis://hunter2@h"}, {})
    assert "a user name but no password" in fault
    assert VARIABLE in fault
    assert "hunter2" not in fault


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "it can't be read: No such file or directory"),
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (b"\xff", "it is not UTF-8"),
        (b"x" * 2**17, "it is too large for a password"),
    ],
)
def test_password_file_that_is_unusable_is_a_fault(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    fault = only_fault({"redis_password_file": str(path)}, {})
    assert fault.startswith(f"--redis-password-file is '{path}': {says}; give the path of a file")


def test_password_file_is_no_pipe_and_no_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        assert "it is no regular file" in only_fault({"redis_password_file": str(path)}, {})


@pytest.mark.parametrize(
    ("content", "password"),
    [(b"a", "a"), (b"a\n", "a"), (b"a\r\n", "a"), (b"a\n\n", "a\n"), (b" a b ", " a b ")],
)
def test_password_is_the_file_without_its_last_line_break(
    tmp_path: Path, content: bytes, password: str
) -> None:
    (tmp_path / "password").write_bytes(content)
    assert read_password(str(tmp_path / "password")) == password


def test_a_faulty_cap_is_blamed_once() -> None:
    assert only_fault({"retry_base": "1h", "retry_cap": "x"}, {}).startswith("--retry-cap is 'x'")


def test_several_or_replaceable_processes_need_a_supervisor() -> None:
    assert not load({}, {}).supervised
    assert load({"processes": "2"}, {}).supervised
    assert load({"max_orders_per_process": "100000"}, {}).supervised
    assert load({}, {"FULFILLMENT_MAX_RSS_PER_PROCESS": "512MiB"}).supervised
    assert "from 1 to 256" in only_fault({"processes": "0"}, {})
    assert "from 64MiB to" in only_fault({"max_rss_per_process": "1MiB"}, {})


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("FULFILLMENT_QUEUES", "FULFILLMENT_QUEUE"),
        ("FULFILLMENT_CONCURENCY", "FULFILLMENT_CONCURRENCY"),
        ("FULFILLMENT_TIMEOUT", "FULFILLMENT_ORDER_TIMEOUT"),
        ("FULFILLMENT_REDIS", "FULFILLMENT_REDIS_URL"),
        ("FULFILLMENT_", "FULFILLMENT_"),
    ],
)
def test_an_unknown_variable_is_a_fault_that_names_the_nearest(name: str, nearest: str) -> None:
    fault = only_fault({}, {name: "hunter2"})
    assert fault.startswith(f"{name} is not a setting: did you mean {nearest}")
    assert "hunter2" not in fault


def test_variables_of_others_are_left_alone() -> None:
    assert load({}, {"PATH": "/bin", "FULFILLMENTS": "x", "fulfillment_x": "y"}) == Settings()


def test_kubernetes_service_links_are_left_alone() -> None:
    links = {
        "FULFILLMENT_WORKER_SERVICE_HOST": "10.0.0.1",
        "FULFILLMENT_WORKER_SERVICE_PORT": "2112",
        "FULFILLMENT_WORKER_SERVICE_PORT_METRICS": "2112",
        "FULFILLMENT_WORKER_PORT": "tcp://10.0.0.1:2112",
        "FULFILLMENT_WORKER_PORT_2112_TCP": "tcp://10.0.0.1:2112",
        "FULFILLMENT_WORKER_PORT_2112_TCP_PROTO": "tcp",
        "FULFILLMENT_WORKER_PORT_2112_TCP_PORT": "2112",
        "FULFILLMENT_WORKER_PORT_2112_TCP_ADDR": "fd00::1",
        "FULFILLMENT_SERVICE_HOST": "10.0.0.2",
        "FULFILLMENT_PORT": "tcp://10.0.0.2:80",
    }
    assert load({}, links) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [("FULFILLMENT_PORT", "2112"), ("FULFILLMENT_WORKER_SERVICE_PORT", "high")],
)
def test_what_only_resembles_a_service_link_is_a_fault(name: str, value: str) -> None:
    assert "is not a setting" in only_fault({}, {name: value})


def test_a_service_link_on_a_setting_says_so() -> None:
    fault = only_fault({}, {"FULFILLMENT_METRICS_PORT": "tcp://10.0.0.1:2112"})
    assert "Kubernetes" in fault
    assert "enableServiceLinks: false" in fault


def test_text_that_is_not_utf8_is_a_fault() -> None:
    fault = only_fault({}, {"FULFILLMENT_QUEUE": "caf\udce9"})
    assert fault == "FULFILLMENT_QUEUE is 'caf\\udce9': it is not UTF-8"


def test_settings_print_without_secrets() -> None:
    environ = {
        "REDIS_URL": "redis://:hunter2@h",
        "FULFILLMENT_HANDLER": "https://shop:hunter2@shop.example/fulfil",
    }
    printed = repr(load({}, environ))
    assert "hunter2" not in printed
    assert "redis://***@h:6379/0" in printed


def test_the_reference_page_is_fresh() -> None:
    page = Path(__file__).parents[3] / "docs" / "settings.md"
    assert page.read_text() == render(), (
        "run: .venv/bin/python -m fulfillment_worker.config.settings_page > docs/settings.md"
    )


def test_the_reference_page_has_every_setting() -> None:
    for spec in SPECS.values():
        assert re.search(rf"\| `{spec.env}`.*\| `{spec.flag}` \|", render())


EACH = "orders=shop:fulfil,returns=shop:refund"


def test_handlers_of_queues_say_which_are_served() -> None:
    assert load({"handler": EACH}, {}).queues == ("orders", "returns")
    swapped = load({"handler": EACH, "queues": "returns,orders"}, {})
    assert swapped.queues == ("returns", "orders")


def test_handlers_of_queues_must_be_those_of_the_queues() -> None:
    with pytest.raises(SettingsError) as caught:
        load({"handler": EACH, "queues": "orders,vip"}, {})
    assert caught.value.faults == [
        "--handler has no handler for queue 'vip': add vip=...",
        "--handler has a handler for queue 'returns', which --queue, orders,vip, doesn't name: "
        "add it there, or remove the handler",
    ]
