"""Renders deploy/kubernetes and checks each resource against its schema: `make check-kubernetes`.

Then it plants faults, and each must be found. Runs in an environment of its own, without the
project: see requirements/kubernetes.txt.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator

from proofs.kubernetes.planted import PLANTED, Resource

ROOT = Path(__file__).parents[2]
VERSIONS = ("1.25", "1.32", "1.37")
"""Of Kubernetes: the oldest that is supported, and the newest that there are schemas of."""

OPERATORS = (
    (
        "Prometheus Operator",
        "cloudcoil-models-prometheus-operator",
        "monitoring.coreos.com/v1",
        (prometheus_operator.PodMonitor, prometheus_operator.PrometheusRule),
    ),
    (
        "KEDA",
        "cloudcoil-models-keda",
        "keda.sh/v1alpha1",
        (keda.ScaledObject, keda.TriggerAuthentication),
    ),
)
"""(operator, the package with its models, their apiVersion, the models)."""

Check = Callable[[Resource], list[str]]


def rendered(folder: Path) -> list[Resource]:
    """What `kubectl apply -k` would send."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        sys.exit("kubectl is missing; run: make system-packages")
    command = [kubectl, "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return list(yaml.safe_load_all(done.stdout))


def strict(schema: Any) -> Any:
    """The schema, as the API server reads it, and without fields that it doesn't name.

    The API server drops such fields in silence. The models take null for whatever may be absent,
    which the API server refuses.
    """
    if isinstance(schema, list):
        return [strict(each) for each in schema if each != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    inner = {name: strict(value) for name, value in schema.items()}
    if len(inner.get("anyOf", ())) == 1:
        inner |= inner.pop("anyOf")[0]
    if isinstance(inner.get("pattern"), str):
        # Python has flags at the very beginning only.
        inner["pattern"] = inner["pattern"].replace("^(?i)", "(?i)^")
    if inner.get("type") == "object" and inner.get("properties"):
        inner.setdefault("additionalProperties", False)
    return inner


def schema_of(model: Any) -> dict[str, Any]:
    """What a resource of the model's kind must be."""
    schema: dict[str, Any] = strict(model.model_json_schema())
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    schema["$defs"]["ObjectMeta"]["required"] = ["name", "namespace"]
    return schema


def custom_checks() -> Iterator[tuple[tuple[str, str], tuple[str, Check]]]:
    """(apiVersion, kind) -> (by which schema, what is wrong with a resource of that kind)."""
    for operator, package, api_version, models in OPERATORS:
        name = f"{operator} {'.'.join(version_of(package).split('.')[:3])}"
        for model in models:
            validator = jsonschema.Draft202012Validator(schema_of(model))

            def faults(resource: Resource, by: Any = validator) -> list[str]:
                return [f"{each.json_path}: {each.message}" for each in by.iter_errors(resource)]

            yield (api_version, model.__name__), (name, faults)


def core_faults(resource: Resource, version: str) -> list[str]:
    """What is wrong with a resource of Kubernetes's own."""
    try:
        kubernetes_validate.validate(resource, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    except kubernetes_validate.SchemaNotFoundError:
        return [f"there is no schema of {resource['apiVersion']} {resource['kind']}"]
    return []


class Checks:
    """The schemas of Kubernetes and of the operators."""

    def __init__(self) -> None:
        self._custom = dict(custom_checks())

    def of(self, resource: Resource) -> Iterator[tuple[str, list[str]]]:
        """(by which schema, what is wrong), for each schema of the resource."""
        custom = self._custom.get((resource["apiVersion"], resource["kind"]))
        if custom is not None:
            name, faults = custom
            yield name, faults(resource)
            return
        for version in VERSIONS:
            yield f"Kubernetes {version}", core_faults(resource, version)


def faulty(resources: list[Resource], checks: Checks) -> int:
    """How many resources are not what a schema says; prints what was checked."""
    failed = 0
    for resource in resources:
        for schema, faults in checks.of(resource):
            print(f"{resource['kind']:22} {schema:30} {'ok' if not faults else 'FAULTY'}")
            for fault in faults:
                print(f"    {fault}")
            failed += bool(faults)
    return failed


def missed(resources: list[Resource], checks: Checks) -> int:
    """How many planted faults a schema doesn't find; prints which."""
    by_kind = {resource["kind"]: resource for resource in resources}
    failed = 0
    for fault in PLANTED:
        for schema, faults in checks.of(fault.planted_in(by_kind[fault.kind])):
            if not any(fault.message in each for each in faults):
                print(f"planted, and not found by {schema}: {fault}: {faults}")
                failed += 1
    print(f"{len(PLANTED)} faults planted: {'all found' if not failed else 'MISSED'}")
    return failed


def main() -> int:
    """0 where every resource is what its schema says, and the schemas find what is not."""
    checks = Checks()
    default = ROOT / "deploy" / "kubernetes"
    folders = [Path(each) for each in sys.argv[1:]] or [default]
    failed = sum(faulty(rendered(folder), checks) for folder in folders)
    return 1 if failed + missed(rendered(default), checks) else 0


if __name__ == "__main__":
    sys.exit(main())
