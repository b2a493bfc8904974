"""Writes what deploy/kubernetes derives from its settings: `python -m proofs.kubernetes.derive`.

The settings are in settings.env, the scaler's own in scaling.env and the namespace in
kustomization.yaml, each of them once. The time that a pod gets to end, the scaler and the rules
follow from them.
"""

from __future__ import annotations

import math
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from fulfillment_worker.config.redis_url import RedisUrl, Scheme
from fulfillment_worker.config.settings import SPECS, Settings, load
from fulfillment_worker.monitoring.document import yaml as as_yaml
from fulfillment_worker.monitoring.target import Target
from fulfillment_worker.monitoring.write import files
from fulfillment_worker.observability.catalogue_queue import OUTSTANDING_ORDERS
from fulfillment_worker.queue import keys

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
NAME = "fulfillment-worker"
"""Of all resources, of the pods' label `app`, and so of the scrape job."""

MARGIN = 15
"""Seconds between the end of the worker's own grace and SIGKILL: to give back what is left, to
take leave of Redis, and to be scheduled on a busy node."""

WAKES = 1_000_000
"""The target of a trigger that wakes the first worker and asks for no more of them."""

PASSWORD_FILE = SPECS["redis_password_file"].env

_HEAD = "# Written by `make kubernetes`: change settings.env or scaling.env, not this file.\n"
_TYPES = {
    Scheme.TCP: "redis",
    Scheme.TLS: "redis",
    Scheme.CLUSTER: "redis-cluster",
    Scheme.CLUSTER_TLS: "redis-cluster",
    Scheme.SENTINEL: "redis-sentinel",
    Scheme.SENTINEL_TLS: "redis-sentinel",
}


class Derived(NamedTuple):
    """File -> content."""

    texts: dict[str, str]

    def write(self, folder: Path) -> None:
        for name, text in self.texts.items():
            (folder / name).write_text(text)


def settings_of(folder: Path) -> Settings:
    """As the worker reads them in its pod, where the password is mounted."""
    variables = environment_of(folder)
    with tempfile.NamedTemporaryFile("w", prefix="password-") as stand_in:
        stand_in.write("secret")
        stand_in.flush()
        if PASSWORD_FILE in variables:
            variables[PASSWORD_FILE] = stand_in.name
        return load({}, variables)


def environment_of(folder: Path, file: str = "settings.env") -> dict[str, str]:
    """The variables of settings.env, or of another file like it."""
    lines = (folder / file).read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def derive(folder: Path) -> Derived:
    """All that follows from a folder's settings."""
    settings = settings_of(folder)
    scaling = environment_of(folder, "scaling.env")
    namespace = yaml.safe_load((folder / "kustomization.yaml").read_text())["namespace"]
    target = Target(
        queues=settings.queues,
        processes=settings.processes if settings.supervised else 0,
        selectors=(("namespace", namespace),),
        scaled_object="" if int(scaling["MIN_REPLICAS"]) else NAME,
    )
    deployment = (folder / "deployment.yaml").read_text()
    return Derived(
        {
            "deployment.yaml": _with_time_to_end(deployment, settings),
            "prometheusrule.yaml": files(target, operator=True)["prometheusrule.yaml"],
            "scaledobject.yaml": _HEAD + as_yaml(scaled_object(settings, target, scaling)),
        }
    )


def time_to_end(settings: Settings) -> int:
    """Whole seconds from SIGTERM to SIGKILL."""
    return math.ceil(settings.shutdown_grace) + MARGIN


def _with_time_to_end(deployment: str, settings: Settings) -> str:
    line = r"(?m)^( *terminationGracePeriodSeconds): .*$"
    text, found = re.subn(line, rf"\1: {time_to_end(settings)}", deployment)
    if found != 1:
        raise SystemExit(f"deployment.yaml has {found} lines of terminationGracePeriodSeconds")
    return text


def scaled_object(settings: Settings, target: Target, scaling: dict[str, str]) -> dict[str, Any]:
    """From no worker to several, and back. scaling: of scaling.env."""
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": NAME},
        "spec": {
            "scaleTargetRef": {"name": NAME},
            "minReplicaCount": int(scaling["MIN_REPLICAS"]),
            "maxReplicaCount": int(scaling["MAX_REPLICAS"]),
            "pollingInterval": int(scaling["POLLING_INTERVAL"]),
            "cooldownPeriod": int(scaling["COOLDOWN_PERIOD"]),
            "triggers": list(_triggers(settings, target, scaling["PROMETHEUS_URL"])),
        },
    }


def _triggers(settings: Settings, target: Target, prometheus: str) -> Iterator[dict[str, Any]]:
    url, several = settings.redis_url, len(settings.queues) > 1
    if url.scheme not in _TYPES:
        raise SystemExit(f"{url}: KEDA can't reach it; give a server, sentinels or a cluster")
    # Each worker runs so many orders, and has as many again at hand.
    share = 2 * settings.concurrency * settings.processes
    yield {
        "type": "prometheus",
        "name": "outstanding",
        "metadata": {
            "serverAddress": prometheus,
            "query": query(target),
            "threshold": str(share),
            "activationThreshold": "0",
            "ignoreNullValues": "false",
        },
    }
    for queue in settings.queues:
        for what, key, value in (
            ("waiting", keys.public(queue), share),
            ("woken", keys.woken(queue), share),
            ("suspects", keys.suspects(queue), share),
            ("retrying", keys.retry(queue), WAKES),
            ("scheduled", keys.scheduled(queue), WAKES),
            ("parked", keys.parked_keys(queue), WAKES),
            ("held", keys.leases(queue), WAKES),
        ):
            yield {
                "type": _TYPES[url.scheme],
                "name": f"{what}-{queue}" if several else what,
                "metadata": _redis(url)
                | {"listName": key, "listLength": str(value), "activationListLength": "0"},
                **_authentication(url),
            }


def query(target: Target) -> str:
    """What is outstanding; 0 where there is no worker to ask; nothing where none can be reached.

    All workers of a queue report the same number: the max, never the sum.
    """
    outstanding = target.of(OUTSTANDING_ORDERS.name)
    most = (
        f"max({outstanding})" if len(target.queues) == 1 else f"sum(max by (queue) ({outstanding}))"
    )
    return f"{most}\nor on ()\nabsent({target.of('up')}) * 0"


def _redis(url: RedisUrl) -> dict[str, str]:
    hosts = ",".join(f"{host}:{port}" for host, port in url.hosts)
    several = url.scheme.cluster or url.scheme.sentinel
    found = {"addresses" if several else "address": hosts}
    if url.scheme.sentinel:
        found["sentinelMaster"] = url.service
    if url.username:
        found["username"] = url.username
    if url.scheme.tls:
        found["enableTLS"] = "true"
    return found if url.scheme.cluster else found | {"databaseIndex": str(url.db)}


def _authentication(url: RedisUrl) -> dict[str, Any]:
    return {"authenticationRef": {"name": "fulfillment-redis"}} if url.password_file else {}


def main() -> None:
    """Write the files, of the folder that is given or of deploy/kubernetes."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    derive(folder).write(folder)


if __name__ == "__main__":
    main()
