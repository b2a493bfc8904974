"""deploy/kubernetes, as `kubectl` renders it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.support.prometheus import program

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"

Resource = dict[str, Any]


def render(folder: Path = FOLDER) -> dict[str, Resource]:
    """Kind -> the resource of that kind; each is there once."""
    command = [program("kubectl"), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    resources = list(yaml.safe_load_all(done.stdout))
    found = {resource["kind"]: resource for resource in resources}
    assert len(found) == len(resources), [resource["kind"] for resource in resources]
    return found
