"""deploy/kubernetes agrees with the code, with itself, and with what it is derived from."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from fulfillment_worker.config.settings import SPECS, load
from fulfillment_worker.observability.health import Health
from fulfillment_worker.observability.routes import probes
from fulfillment_worker.runtime import end, lifecycle
from fulfillment_worker.supervisor import fleet
from proofs.kubernetes.derive import MARGIN, derive, environment_of, settings_of, time_to_end
from tests.support.kubernetes import FOLDER, Resource, render

ROOT = Path(__file__).parents[2]
LABELS = {"app": "fulfillment-worker"}


@pytest.fixture(scope="module")
def resources() -> dict[str, Resource]:
    return render()


@pytest.fixture(scope="module")
def pod(resources: dict[str, Resource]) -> dict[str, Any]:
    spec: dict[str, Any] = resources["Deployment"]["spec"]["template"]["spec"]
    return spec


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["containers"]
    return dict(only)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A deploy/kubernetes of one's own."""
    return Path(shutil.copytree(FOLDER, tmp_path / "kubernetes"))


def set_in(folder: Path, name: str, value: str, file: str = "settings.env") -> None:
    path = folder / file
    text = re.sub(rf"(?m)^{name}=.*\n", "", path.read_text())
    path.write_text(f"{text}{name}={value}\n")


def test_kubernetes_has_the_resources(resources: dict[str, Resource]) -> None:
    assert set(resources) == {
        "ConfigMap",
        "Deployment",
        "PodDisruptionBudget",
        "PodMonitor",
        "PrometheusRule",
        "ScaledObject",
        "TriggerAuthentication",
    }
    assert {each["metadata"]["namespace"] for each in resources.values()} == {"shop"}


@pytest.mark.parametrize("name", sorted(derive(FOLDER).texts))
def test_kubernetes_files_are_those_that_its_settings_make(name: str) -> None:
    assert (FOLDER / name).read_text() == derive(FOLDER).texts[name], "run: make kubernetes"


def test_kubernetes_settings_are_accepted(
    resources: dict[str, Resource], container: dict[str, Any]
) -> None:
    settings = settings_of(FOLDER)
    assert settings.handler is not None
    config = resources["ConfigMap"]
    assert config["data"] == environment_of(FOLDER)
    assert container["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}]
    assert "env" not in container


def test_kubernetes_password_is_a_mounted_file_that_can_be_rotated(
    resources: dict[str, Resource], pod: dict[str, Any], container: dict[str, Any]
) -> None:
    variable = SPECS["redis_password_file"].env
    file = Path(resources["ConfigMap"]["data"][variable])
    (mount,) = container["volumeMounts"]
    assert Path(mount["mountPath"]) == file.parent
    assert "subPath" not in mount, "such a mount is never updated"
    (volume,) = pod["volumes"]
    assert volume["name"] == mount["name"]
    (reference,) = resources["TriggerAuthentication"]["spec"]["secretTargetRef"]
    secret = volume["secret"]["secretName"]
    assert reference == {"parameter": "password", "name": secret, "key": file.name}


def test_kubernetes_grace_is_longer_than_the_workers_own(pod: dict[str, Any]) -> None:
    grace = settings_of(FOLDER).shutdown_grace
    assert pod["terminationGracePeriodSeconds"] >= grace + 10


def test_kubernetes_grace_leaves_time_for_what_comes_after_the_drain() -> None:
    alone = lifecycle._ABORT_GRACE + end._THREADS + end._CALLBACKS
    supervised = fleet._ABORT_GRACE + fleet._KILL_GRACE
    assert max(alone, supervised) < MARGIN


def test_kubernetes_grace_follows_from_the_setting(copy: Path) -> None:
    set_in(copy, SPECS["shutdown_grace"].env, "2m")
    derive(copy).write(copy)
    pod = render(copy)["Deployment"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 120 + MARGIN
    set_in(copy, SPECS["shutdown_grace"].env, "1500ms")
    assert time_to_end(settings_of(copy)) == 2 + MARGIN


def test_kubernetes_probes_ask_what_the_worker_answers(container: dict[str, Any]) -> None:
    (port,) = container["ports"]
    assert port == {"name": "metrics", "containerPort": load({}, {}).metrics_port}
    asked = {
        name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")
    }
    assert {each["port"] for each in asked.values()} == {"metrics"}
    paths = {name: each["path"] for name, each in asked.items()}
    assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
    assert set(paths.values()) <= set(probes(Health(stuck_after=30)))


def test_kubernetes_liveness_leaves_time_for_an_import_and_for_a_slow_turn(
    container: dict[str, Any],
) -> None:
    startup, liveness = container["startupProbe"], container["livenessProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 300
    assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 30


def test_kubernetes_pod_has_no_rights_that_it_does_not_need(
    pod: dict[str, Any], container: dict[str, Any]
) -> None:
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert "memory" in container["resources"]["limits"]
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}


def test_kubernetes_selectors_find_the_pods(
    resources: dict[str, Resource], pod: dict[str, Any]
) -> None:
    deployment = resources["Deployment"]["spec"]
    assert deployment["template"]["metadata"]["labels"] == LABELS
    (spread,) = pod["topologySpreadConstraints"]
    for selector in (
        deployment["selector"],
        resources["PodDisruptionBudget"]["spec"]["selector"],
        resources["PodMonitor"]["spec"]["selector"],
        spread["labelSelector"],
    ):
        assert selector == {"matchLabels": LABELS}


def test_kubernetes_workers_may_be_evicted_one_at_a_time(resources: dict[str, Resource]) -> None:
    budget = resources["PodDisruptionBudget"]["spec"]
    assert budget["maxUnavailable"] == 1
    assert "minAvailable" not in budget


def test_kubernetes_scrape_job_is_the_one_that_rules_ask_for(
    resources: dict[str, Resource], container: dict[str, Any]
) -> None:
    monitor = resources["PodMonitor"]["spec"]
    job = LABELS[monitor["jobLabel"]]
    assert [each["port"] for each in monitor["podMetricsEndpoints"]] == ["metrics"]
    asks = f'{{job="{job}",namespace="shop"'
    groups = resources["PrometheusRule"]["spec"]["groups"]
    assert groups
    for rule in (rule for group in groups for rule in group["rules"]):
        assert asks in rule["expr"] or "vector(1)" in rule["expr"], rule


def test_kubernetes_scaler_scales_the_deployment_which_has_no_replicas_of_its_own(
    resources: dict[str, Resource],
) -> None:
    scaled = resources["ScaledObject"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == resources["Deployment"]["metadata"]["name"]
    assert "replicas" not in resources["Deployment"]["spec"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (0, 8)


def test_kubernetes_scaler_looks_at_every_place_of_an_order(copy: Path) -> None:
    set_in(copy, SPECS["queues"].env, "express,orders")
    set_in(copy, SPECS["redis_url"].env, "rediss+sentinel://worker@s1,s2:26380/main/3")
    derive(copy).write(copy)
    outstanding, *triggers = render(copy)["ScaledObject"]["spec"]["triggers"]
    assert outstanding["metadata"]["query"].startswith(
        'sum(max by (queue) (fulfillment_outstanding_orders{job="fulfillment-worker",'
    )
    assert {each["type"] for each in triggers} == {"redis-sentinel"}
    assert len({each["name"] for each in triggers}) == len(triggers) == 14
    names = [each["metadata"]["listName"] for each in triggers]
    assert names[:7] == [
        "express",
        "{express}:woken",
        "{express}:suspects",
        "{express}:retry",
        "{express}:scheduled",
        "{express}:parked_keys",
        "{express}:leases",
    ]
    assert triggers[0]["metadata"] == {
        "addresses": "s1:26379,s2:26380",
        "sentinelMaster": "main",
        "username": "worker",
        "enableTLS": "true",
        "databaseIndex": "3",
        "listName": "express",
        "listLength": "100",
        "activationListLength": "0",
    }


def test_kubernetes_scaler_has_its_numbers_from_one_file(copy: Path) -> None:
    set_in(copy, "PROMETHEUS_URL", "http://prometheus.example", "scaling.env")
    set_in(copy, "MAX_REPLICAS", "20", "scaling.env")
    set_in(copy, "MIN_REPLICAS", "2", "scaling.env")
    derive(copy).write(copy)
    resources = render(copy)
    scaled = resources["ScaledObject"]["spec"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (2, 20)
    assert scaled["triggers"][0]["metadata"]["serverAddress"] == "http://prometheus.example"
    rules = str(resources["PrometheusRule"])
    assert "absent(up" in rules
    assert "keda_scaler_metrics_value" not in rules, "a worker always runs: none is an alert"


@pytest.mark.parametrize(
    ("url", "type", "metadata"),
    [
        ("rediss://r:1/2", "redis", {"address": "r:1", "enableTLS": "true", "databaseIndex": "2"}),
        ("redis+cluster://a,b:7", "redis-cluster", {"addresses": "a:6379,b:7"}),
    ],
)
def test_kubernetes_scaler_reaches_redis_as_the_worker_does(
    copy: Path, url: str, type: str, metadata: dict[str, str]
) -> None:
    set_in(copy, SPECS["redis_url"].env, url)
    trigger = yaml.safe_load(derive(copy).texts["scaledobject.yaml"])["spec"]["triggers"][1]
    assert trigger["type"] == type
    assert metadata.items() <= trigger["metadata"].items()


def test_kubernetes_scaler_can_not_reach_an_embedded_redis(copy: Path) -> None:
    set_in(copy, SPECS["redis_url"].env, "embedded:/data")
    set_in(copy, SPECS["redis_password_file"].env, "")
    with pytest.raises(SystemExit, match=r"^embedded:/data: KEDA can't reach it"):
        derive(copy)


def test_kubernetes_image_is_that_of_the_dockerfile(container: dict[str, Any]) -> None:
    name, _, tag = container["image"].rpartition(":")
    assert name.endswith("/fulfillment-worker")
    version = re.findall(r'(?m)^version = "(.+)"$', (ROOT / "pyproject.toml").read_text())
    assert [tag] == version
    assert not {"command", "args"} & set(container), "the image's own"


@pytest.mark.parametrize(
    ("package", "operator"),
    [
        ("cloudcoil-models-prometheus-operator", "Prometheus Operator"),
        ("cloudcoil-models-keda", "KEDA"),
    ],
)
def test_kubernetes_docs_say_which_versions_are_checked(package: str, operator: str) -> None:
    lock = (ROOT / "requirements" / "kubernetes.txt").read_text()
    # The versions of the models begin with the operator's.
    older, newer = sorted(re.findall(rf"(?m)^{package}==(\d+\.\d+)\.\S+ ; python", lock))
    (said,) = re.findall(
        r"(?m)^.*`make check-kubernetes`.*$", (ROOT / "docs" / "deployment.md").read_text()
    )
    assert f"{operator} {older}" in said
    assert re.search(rf"on Python 3\.14 .*\b{re.escape(newer)}\b", said)
