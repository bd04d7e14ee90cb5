"""Validate the manifests, offline; `make files` calls it.

Each one strictly against the schemas of the oldest and the newest Kubernetes we name, and the pods against
the `restricted` pod security standard: https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
BASE = HERE / "base"
VERSIONS = ("1.31", "1.37")
"""`unhealthyPodEvictionPolicy` is stable since 1.31."""

Manifest = dict[str, Any]


def manifests() -> Iterator[tuple[str, Manifest]]:
    """All manifests by name: each file, and what kustomize makes of them where kubectl is installed."""
    for path in sorted([*BASE.glob("*.yaml"), *HERE.glob("overlays/*/*.yaml")]):
        if path.name != "kustomization.yaml":
            yield path.name, yaml.safe_load(path.read_text())
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        print("skipped: kubectl is not installed, so kustomization.yaml is not rendered")
        return
    for folder in (BASE, *sorted(HERE.glob("overlays/*"))):
        rendered = subprocess.run(
            [kubectl, "kustomize", str(folder)], check=True, capture_output=True, text=True
        )
        for manifest in yaml.safe_load_all(rendered.stdout):
            yield f"kustomize {folder.name}: {manifest['kind']}", manifest


def schema_faults(manifest: Manifest) -> Iterator[str]:
    """What the API server would refuse, misspelt fields included."""
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"Kubernetes {version}: {'.'.join(map(str, error.path))}: {error.message}"


def pod_faults(manifest: Manifest) -> Iterator[str]:
    """What keeps the pods of a Deployment or CronJob from being `restricted`, read-only and unprivileged."""
    match manifest["kind"]:
        case "Deployment":
            pod = manifest["spec"]["template"]["spec"]
        case "CronJob":
            pod = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        case _:
            return
    context = pod.get("securityContext", {})
    rules = {
        "automountServiceAccountToken is false": pod.get("automountServiceAccountToken") is False,
        "enableServiceLinks is false": pod.get("enableServiceLinks") is False,
        "runAsNonRoot is true": context.get("runAsNonRoot") is True,
        "runAsUser is not root": context.get("runAsUser", 0) > 0,
        "seccompProfile is RuntimeDefault": context.get("seccompProfile") == {"type": "RuntimeDefault"},
        "the host's namespaces are not shared": not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(),
        "volumes are of harmless types": all(
            volume.keys() - {"name"} <= {"configMap", "emptyDir", "projected", "secret"}
            for volume in pod.get("volumes", [])
        ),
    }
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        name, resources = container["name"], container.get("resources", {})
        context = container.get("securityContext", {})
        rules |= {
            f"{name}: allowPrivilegeEscalation is false": context.get("allowPrivilegeEscalation") is False,
            f"{name}: readOnlyRootFilesystem is true": context.get("readOnlyRootFilesystem") is True,
            f"{name}: capabilities are dropped": context.get("capabilities") == {"drop": ["ALL"]},
            f"{name}: not privileged": not context.get("privileged"),
            f"{name}: no host port": not any("hostPort" in port for port in container.get("ports", [])),
            f"{name}: CPU and memory requests": {"cpu", "memory"} <= resources.get("requests", {}).keys(),
            f"{name}: memory limit": "memory" in resources.get("limits", {}),
        }
    yield from (f"must hold: {rule}" for rule, holds in rules.items() if not holds)


def exposure_faults(manifest: Manifest) -> Iterator[str]:
    """The admin port has no token, so no Service may lead to it."""
    if manifest["kind"] == "Service":
        for port in manifest["spec"]["ports"]:
            if port.get("targetPort", port["port"]) in {"admin", 9090}:
                yield f"the admin port must be in no Service: {port['name']}"


def main() -> int:
    """Print every fault; 1 if there is any."""
    faults = [
        f"{name}: {fault}"
        for name, manifest in manifests()
        for check in (schema_faults, pod_faults, exposure_faults)
        for fault in check(manifest)
    ]
    print(*faults, sep="\n", end="\n" if faults else "")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
