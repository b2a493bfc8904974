"""The files for deployment agree with the code, and with each other."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from fulfillment_worker.config.settings import SPECS, load
from tests.support.prometheus import program

ROOT = Path(__file__).parents[2]
METRICS_PORT = load({}, {}).metrics_port
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return parsed


@pytest.fixture(scope="module")
def worker(compose: dict[str, Any]) -> dict[str, Any]:
    service: dict[str, Any] = compose["services"]["fulfillment-worker"]
    return service


@pytest.fixture(scope="module")
def dockerfile() -> dict[str, list[str]]:
    """Instruction -> its arguments, in order, of the last stage."""
    text = re.sub(r"\\\n", "", (ROOT / "Dockerfile").read_text())
    last = text[text.rindex("\nFROM ") :]
    found: dict[str, list[str]] = {}
    for line in last.splitlines():
        if line and not line.startswith("#"):
            instruction, _, arguments = line.partition(" ")
            found.setdefault(instruction, []).append(arguments)
    return found


def test_compose_has_the_services(compose: dict[str, Any]) -> None:
    watching = {"prometheus", "jaeger", "grafana"}
    assert set(compose["services"]) == {"redis", "fulfillment-worker", *watching}


def test_compose_builds_the_worker_from_here(worker: dict[str, Any]) -> None:
    assert worker["build"]["context"] == "."
    assert (ROOT / "Dockerfile").is_file()


def test_compose_publishes_the_metrics_port(worker: dict[str, Any]) -> None:
    assert [str(port).rpartition(":")[2] for port in worker["ports"]] == [str(METRICS_PORT)]


def test_composes_settings_are_accepted(worker: dict[str, Any]) -> None:
    settings = load({}, worker["environment"])
    assert settings.handler is not None
    module = settings.handler.partition(":")[0]
    assert (ROOT / "examples" / f"{module}.py").is_file()
    assert "./examples:/app:ro" in worker["volumes"]


def test_compose_waits_for_redis(compose: dict[str, Any], worker: dict[str, Any]) -> None:
    assert worker["depends_on"] == {"redis": {"condition": "service_healthy"}}
    redis = compose["services"]["redis"]
    assert "healthcheck" in redis
    options = dict(zip(redis["command"][1::2], redis["command"][2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    assert "redis-data:/data" in redis["volumes"]


def test_compose_lets_a_drain_end(worker: dict[str, Any]) -> None:
    grace = load({}, worker["environment"]).shutdown_grace
    assert float(worker["stop_grace_period"].removesuffix("s")) > grace


def test_every_volume_is_declared(compose: dict[str, Any]) -> None:
    services = compose["services"].values()
    mounts = [each.split(":") for s in services for each in s.get("volumes", [])]
    named = {source for source, *_ in mounts if not source.startswith(".")}
    assert named == set(compose["volumes"])
    assert all((ROOT / source).exists() for source, *_ in mounts if source.startswith("."))


def test_prometheus_scrapes_the_service_of_compose(compose: dict[str, Any]) -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())
    [job] = config["scrape_configs"]
    [found] = job["dns_sd_configs"]
    assert found["port"] == METRICS_PORT
    assert set(found["names"]) <= set(compose["services"])


def in_container(compose: dict[str, Any], service: str, path: str) -> Path:
    """The file or folder of this repository that is at `path` in a container."""
    for mount in compose["services"][service]["volumes"]:
        source, inside = str(mount).split(":")[:2]
        if source.startswith("./") and (path == inside or path.startswith(f"{inside}/")):
            return ROOT / source / path.removeprefix(inside).lstrip("/")
    pytest.fail(f"{path} is not mounted into {service}")


def test_promtool_accepts_the_configuration(compose: dict[str, Any], tmp_path: Path) -> None:
    # As in the container, where the rules are mounted beside it.
    config = "/etc/prometheus/prometheus.yml"
    shutil.copy(in_container(compose, "prometheus", config), tmp_path)
    rules = in_container(compose, "prometheus", "/etc/prometheus/monitoring")
    shutil.copytree(rules, tmp_path / "monitoring")
    command = [program("promtool"), "check", "config", str(tmp_path / "prometheus.yml")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "2 rule files found" in checked.stdout
    assert f"--config.file={config}" in compose["services"]["prometheus"]["command"]


def test_grafana_gets_its_data_from_the_prometheus_of_compose(compose: dict[str, Any]) -> None:
    folder = in_container(compose, "grafana", "/etc/grafana/provisioning/datasources")
    (file,) = folder.iterdir()
    source, traces = yaml.safe_load(file.read_text())["datasources"]
    url = urlsplit(source["url"])
    assert (source["type"], url.hostname, url.port) == ("prometheus", "prometheus", 9090)
    assert url.hostname in compose["services"]
    scraped = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]
    (leads,) = source["jsonData"]["exemplarTraceIdDestinations"]
    assert leads == {"name": "trace_id", "datasourceUid": traces["uid"]}
    assert urlsplit(traces["url"]).hostname in compose["services"]


def test_traces_go_where_grafana_looks_for_them(
    compose: dict[str, Any], worker: dict[str, Any]
) -> None:
    sent = urlsplit(worker["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"])
    listens = compose["services"][sent.hostname]["environment"]["COLLECTOR_OTLP_HTTP_HOST_PORT"]
    assert listens == f"0.0.0.0:{sent.port}"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert names(project["project"]["optional-dependencies"]["otel"]) <= locked("runtime")


def test_grafana_shows_the_dashboards(compose: dict[str, Any]) -> None:
    folder = in_container(compose, "grafana", "/etc/grafana/provisioning/dashboards")
    (file,) = folder.iterdir()
    (provider,) = yaml.safe_load(file.read_text())["providers"]
    shown = in_container(compose, "grafana", provider["options"]["path"])
    assert shown == ROOT / "monitoring" / "dashboards"
    assert list(shown.glob("*.json"))
    environment = compose["services"]["grafana"]["environment"]
    home = environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert in_container(compose, "grafana", home).is_file()


def test_grafana_is_the_version_that_the_dashboards_are_checked_with(
    compose: dict[str, Any],
) -> None:
    project = (ROOT / "pyproject.toml").read_text()
    (checked,) = re.findall(r'"grafana-foundation-sdk==\d+!(\d+\.\d+)\.', project)
    assert f"/grafana:{checked}." in compose["services"]["grafana"]["image"]


def test_the_image_runs_the_worker_as_process_1(dockerfile: dict[str, list[str]]) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    [program_name] = json.loads(dockerfile["ENTRYPOINT"][-1])
    assert program_name in scripts
    assert json.loads(dockerfile["CMD"][-1]) == ["run"]
    assert dockerfile["STOPSIGNAL"] == ["SIGTERM"]


def test_the_image_exposes_the_metrics_port(dockerfile: dict[str, list[str]]) -> None:
    assert dockerfile["EXPOSE"] == [str(METRICS_PORT)]
    [check] = dockerfile["HEALTHCHECK"]
    assert SPECS["metrics_port"].env in check
    assert f"or {METRICS_PORT})" in check
    assert "/livez" in check


def test_the_images_health_check_is_a_program(dockerfile: dict[str, list[str]]) -> None:
    command = json.loads(dockerfile["HEALTHCHECK"][0].partition("CMD ")[2])
    compile(command[2], "HEALTHCHECK", "exec")


def test_the_image_does_not_run_as_root(dockerfile: dict[str, list[str]]) -> None:
    user, _, group = dockerfile["USER"][-1].partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_the_image_gets_all_that_its_build_needs() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    text = (ROOT / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, flags=re.MULTILINE):
        for source in line.split():
            assert any(rule.startswith(f"!{source.rstrip('/')}") for rule in ignored), source


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_a_lock_names_no_place(lock: Path) -> None:
    for line in lock.read_text().splitlines():
        assert "://" not in line
        assert not line.startswith(("-", "/"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_every_entry_of_a_lock_is_exact_and_has_hashes(lock: Path) -> None:
    text = re.sub(r"^ *#.*\n", "", lock.read_text(), flags=re.MULTILINE)
    entries = [entry for entry in re.split(r"\n(?=\S)", text.strip())]
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+==\S+ (; .+ )?\\\n", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry


def test_the_locks_hold_every_requirement() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = (
        project["project"]["dependencies"] + project["project"]["optional-dependencies"]["http"]
    )
    assert names(wanted) <= locked("runtime")
    groups = project["dependency-groups"]
    tools = [each for each in groups["dev"] if isinstance(each, str)]
    extras = project["project"]["optional-dependencies"]["embedded"]
    assert names(wanted + extras + tools + groups["build"]) <= locked("dev")


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~! ]", each)[0].lower().replace("_", "-") for each in requirements}


def locked(lock: str) -> set[str]:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    return set(re.findall(r"^([a-z0-9.-]+)==", text, flags=re.MULTILINE))
