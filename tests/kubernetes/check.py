"""Renders deploy/kubernetes and checks each resource against its schema: `make check-kubernetes`.

Runs in an environment of its own, without the project: see requirements/kubernetes.txt.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

ROOT = Path(__file__).parents[2]
CRDS = ROOT / "tests" / "data" / "crds"
VERSIONS = ("1.25", "1.32", "1.37")
"""Of Kubernetes: the oldest that is supported, and the newest that there are schemas of."""

Resource = dict[str, Any]


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
    """It refuses fields that it doesn't name, which the API server would drop in silence."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: strict(value) for name, value in schema.items()}
    named = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if named and not schema.get("x-kubernetes-preserve-unknown-fields"):
        inner.setdefault("additionalProperties", False)
    return inner


def custom_checks() -> Iterator[tuple[tuple[str, str], Callable[[Resource], list[str]]]]:
    """(apiVersion, kind) -> what is wrong with a resource of that kind."""
    for path in sorted(CRDS.glob("*.json")):
        crd = json.loads(path.read_text())
        schema = strict(crd["schema"])
        # What every resource has, whatever its kind; the names are Kubernetes's own.
        schema["properties"]["metadata"] = strict(
            {
                "type": "object",
                "required": ["name", "namespace"],
                "properties": {
                    "name": {"type": "string"},
                    "namespace": {"type": "string"},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            }
        )
        validator = jsonschema.Draft202012Validator(schema)

        def faults(resource: Resource, by: Any = validator) -> list[str]:
            return [f"{each.json_path}: {each.message}" for each in by.iter_errors(resource)]

        yield (crd["apiVersion"], crd["kind"]), faults


def core_faults(resource: Resource, version: str) -> list[str]:
    """What is wrong with a resource of Kubernetes's own."""
    try:
        kubernetes_validate.validate(resource, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    return []


def check(resources: list[Resource]) -> Iterator[tuple[str, str, list[str]]]:
    """(kind, by which schema, what is wrong) of each resource and schema."""
    custom = dict(custom_checks())
    for resource in resources:
        kind = resource["kind"]
        faults = custom.get((resource["apiVersion"], kind))
        if faults is not None:
            yield kind, resource["apiVersion"], faults(resource)
            continue
        for version in VERSIONS:
            yield kind, f"Kubernetes {version}", core_faults(resource, version)


def main() -> int:
    """0 where every resource is what its schema says."""
    folders = [Path(each) for each in sys.argv[1:]] or [ROOT / "deploy" / "kubernetes"]
    failed = 0
    for folder in folders:
        for kind, schema, faults in check(rendered(folder)):
            print(f"{kind:22} {schema:30} {'ok' if not faults else 'FAULTY'}")
            for fault in faults:
                print(f"    {fault}")
            failed += bool(faults)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
