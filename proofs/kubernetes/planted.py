"""Faults that `make check-kubernetes` plants in deploy/kubernetes, one at a time, and must find."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

Resource = dict[str, Any]
ABSENT = object()


@dataclass(frozen=True)
class Fault:
    """One value of one resource, and what the check must say of it."""

    kind: str
    path: str
    value: Any
    message: str

    def planted_in(self, resource: Resource) -> Resource:
        """A copy of the resource, with the fault."""
        faulty = copy.deepcopy(resource)
        *outer, last = [int(each) if each.isdigit() else each for each in self.path.split(".")]
        place: Any = faulty
        for each in outer:
            place = place[each]
        if self.value is ABSENT:
            del place[last]
        else:
            place[last] = self.value
        return faulty


PLANTED = (
    # Unknown fields.
    Fault("PodMonitor", "spec.jobLable", "app", "'jobLable' was unexpected"),
    Fault("PodMonitor", "spec.podMetricsEndpoints.0.prot", "metrics", "'prot' was unexpected"),
    Fault("PrometheusRule", "spec.groups.0.rules.0.exp", "up", "'exp' was unexpected"),
    Fault("ScaledObject", "spec.minReplicas", 0, "'minReplicas' was unexpected"),
    Fault("ScaledObject", "spec.triggers.0.nmae", "waiting", "'nmae' was unexpected"),
    Fault("TriggerAuthentication", "spec.secretTargetRef.0.kye", "k", "'kye' was unexpected"),
    Fault("Deployment", "spec.template.spec.volums", [], "'volums' was unexpected"),
    # Wrong types. What KEDA hands to a trigger is text, and so are labels.
    Fault("PodMonitor", "spec.jobLabel", None, "None is not of type 'string'"),
    Fault("PodMonitor", "metadata.labels.app", 1, "1 is not of type 'string'"),
    Fault("PrometheusRule", "spec.groups.0.rules", {}, "{} is not of type 'array'"),
    Fault("ScaledObject", "spec.maxReplicaCount", "8", "'8' is not of type 'integer'"),
    Fault("ScaledObject", "spec.triggers.0.metadata.threshold", 9, "9 is not of type 'string'"),
    Fault("Deployment", "spec.template.spec.containers", {}, "{} is not of type 'array'"),
    # What is required.
    Fault("PodMonitor", "spec.selector", ABSENT, "'selector' is a required"),
    Fault("PrometheusRule", "spec.groups.0.rules.0.expr", ABSENT, "'expr' is a required"),
    Fault("ScaledObject", "spec.scaleTargetRef", ABSENT, "'scaleTargetRef' is a required"),
    Fault("ScaledObject", "metadata.name", ABSENT, "'name' is a required"),
    Fault("TriggerAuthentication", "spec.secretTargetRef.0.key", ABSENT, "'key' is a required"),
    Fault("Deployment", "spec.template.spec.containers.0.name", ABSENT, "'name' is a required"),
    # Misspelt values.
    Fault("PodMonitor", "spec.podMetricsEndpoints.0.scheme", "htpp", "'htpp' is not one of"),
    Fault("PodMonitor", "spec.podMetricsEndpoints.0.interval", "15 s", "'15 s' does not match"),
    Fault("PrometheusRule", "spec.groups.0.rules.0.for", "5min", "'5min' does not match"),
    Fault("TriggerAuthentication", "spec.podIdentity", {"provider": "asw"}, "'asw' is not one of"),
    Fault("ScaledObject", "apiVersion", "keda.sh/v1", "no schema of keda.sh/v1 ScaledObject"),
    Fault("PodMonitor", "kind", "PodMonitr", "no schema of monitoring.coreos.com/v1 PodMonitr"),
)
