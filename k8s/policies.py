"""Policies on everything that is applied together: what a scan of a cluster would find, found before. Pure.

Pods are held to the `restricted` standard, https://kubernetes.io/docs/concepts/security/pod-security-standards/,
and to what keeps a service up: budgets, probes, spread, limits. Each exception is a row with its reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Manifest = dict[str, Any]
EXCEPTIONS = {
    ("Deployment data-on-demand-jobs", "a Service leads to it"): "Nobody asks it anything.",
    ("CronJob data-on-demand-retention", "a Service leads to it"): "Nobody asks it anything.",
    ("StatefulSet mongodb", "a PodDisruptionBudget holds for it"): "One member, of a trial.",
    ("StatefulSet mongodb", "it is spread over nodes"): "One member, of a trial.",
}
"""Exceptions, by workload and policy, each with the reason."""
HARMLESS_VOLUMES = {"configMap", "emptyDir", "projected", "secret"}
ADMIN_PORTS = {"admin", 9090}


def faults(manifests: Iterable[Manifest]) -> Iterator[str]:
    """Faults of manifests that are applied together."""
    whole = list(manifests)
    for workload in (one for one in whole if one["kind"] in ("Deployment", "StatefulSet", "CronJob")):
        name = f"{workload['kind']} {workload['metadata']['name']}"
        for rule, holds in {**_pod_rules(workload), **_rules_among(workload, whole)}.items():
            if not holds and (name, rule) not in EXCEPTIONS:
                yield f"{name}: must hold: {rule}"
    yield from _service_faults(whole)
    yield from _scaler_faults(whole)


def _template(workload: Manifest) -> dict[str, Any]:
    spec = workload["spec"]
    template = spec["jobTemplate"]["spec"]["template"] if workload["kind"] == "CronJob" else spec["template"]
    return dict(template)


def _pod_rules(workload: Manifest) -> dict[str, bool]:
    """Rules for the pod alone."""
    pod = _template(workload)["spec"]
    context = pod.get("securityContext", {})
    rules = {
        "automountServiceAccountToken is false": pod.get("automountServiceAccountToken") is False,
        "enableServiceLinks is false": pod.get("enableServiceLinks") is False,
        "runAsNonRoot is true": context.get("runAsNonRoot") is True,
        "runAsUser is not root": context.get("runAsUser", 0) > 0,
        "seccompProfile is RuntimeDefault": context.get("seccompProfile") == {"type": "RuntimeDefault"},
        "the host's namespaces are not shared": not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(),
        "volumes are of harmless types": all(
            volume.keys() - {"name"} <= HARMLESS_VOLUMES for volume in pod.get("volumes", [])
        ),
        "emptyDir has a limit": all(
            "sizeLimit" in volume["emptyDir"] for volume in pod.get("volumes", []) if "emptyDir" in volume
        ),
    }
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        rules |= _container_rules(container, serves=workload["kind"] != "CronJob")
    return rules


def _container_rules(container: Mapping[str, Any], *, serves: bool) -> dict[str, bool]:
    name, resources = container["name"], container.get("resources", {})
    context, image = container.get("securityContext", {}), container["image"]
    wanted = {"cpu", "memory", "ephemeral-storage"}
    probes = {"startupProbe", "livenessProbe", "readinessProbe"} if serves else set()
    return {
        f"{name}: allowPrivilegeEscalation is false": context.get("allowPrivilegeEscalation") is False,
        f"{name}: readOnlyRootFilesystem is true": context.get("readOnlyRootFilesystem") is True,
        f"{name}: capabilities are dropped": context.get("capabilities") == {"drop": ["ALL"]},
        f"{name}: not privileged": not context.get("privileged"),
        f"{name}: no host port": not any("hostPort" in port for port in container.get("ports", [])),
        f"{name}: requests": wanted <= resources.get("requests", {}).keys(),
        f"{name}: limits but of CPU": resources.get("limits", {}).keys() == wanted - {"cpu"},
        f"{name}: probes": probes <= container.keys(),
        f"{name}: a fixed image": "@sha256:" in image or (":" in image and not image.endswith(":latest")),
        f"{name}: no secret in its environment": not any(
            "secretKeyRef" in one.get("valueFrom", {}) for one in container.get("env", [])
        )
        and not any("secretRef" in one for one in container.get("envFrom", [])),
    }


def _rules_among(workload: Manifest, whole: list[Manifest]) -> dict[str, bool]:
    """Rules for the workload beside what is applied with it."""
    template = _template(workload)
    labels, pod = template["metadata"]["labels"], template["spec"]

    def some(kind: str) -> list[Manifest]:
        return [one for one in whole if one["kind"] == kind]

    policies = [one["spec"] for one in some("NetworkPolicy") if selects(one["spec"]["podSelector"], labels)]
    budgets = [one for one in some("PodDisruptionBudget") if selects(one["spec"]["selector"], labels)]
    services = [one for one in some("Service") if one["spec"]["selector"].items() <= labels.items()]
    accounts = {one["metadata"]["name"]: one for one in some("ServiceAccount")}
    account = accounts.get(pod.get("serviceAccountName", ""), {})
    rules = {
        "traffic in and out is denied but for what is listed": any(
            {"Ingress", "Egress"} <= set(policy["policyTypes"]) for policy in policies
        ),
        "its ServiceAccount is its own, without a token": account.get("automountServiceAccountToken")
        is False,
    }
    if workload["kind"] != "CronJob":
        rules |= {
            "a PodDisruptionBudget holds for it": len(budgets) == 1,
            "a Service leads to it": bool(services),
            "it is spread over nodes": any(
                one["topologyKey"] == "kubernetes.io/hostname"
                for one in pod.get("topologySpreadConstraints", [])
            ),
        }
    return rules


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects these labels."""
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    for one in selector.get("matchExpressions", []):
        is_in = labels.get(one["key"]) in one.get("values", [])
        if is_in != (one["operator"] == "In"):
            return False
    return True


def _service_faults(whole: list[Manifest]) -> Iterator[str]:
    """The admin port has no token, so no Service may lead to it; and a Service must lead somewhere."""
    pods = [
        _template(one)["metadata"]["labels"] for one in whole if one["kind"] in ("Deployment", "StatefulSet")
    ]
    for service in (one for one in whole if one["kind"] == "Service"):
        name = service["metadata"]["name"]
        if not any(service["spec"]["selector"].items() <= labels.items() for labels in pods):
            yield f"Service {name}: leads to no pod"
        for port in service["spec"]["ports"]:
            if port.get("targetPort", port["port"]) in ADMIN_PORTS:
                yield f"Service {name}: the admin port must be in no Service"


def _scaler_faults(whole: list[Manifest]) -> Iterator[str]:
    """Rules for a scaler: what it scales is there, and says no number of replicas, which an apply would set
    back.
    """
    deployments = {one["metadata"]["name"]: one for one in whole if one["kind"] == "Deployment"}
    for scaler in (one for one in whole if one["kind"] == "HorizontalPodAutoscaler"):
        target = deployments.get(scaler["spec"]["scaleTargetRef"]["name"])
        name = scaler["metadata"]["name"]
        if target is None:
            yield f"HorizontalPodAutoscaler {name}: scales nothing"
        elif "replicas" in target["spec"]:
            yield f"HorizontalPodAutoscaler {name}: its Deployment says replicas, too"
