"""The policies on the manifests: all hold of what is applied, and each one notices when it does not."""

from __future__ import annotations

import copy
import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

yaml = pytest.importorskip("yaml")
pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
K8S = Path(__file__).parents[2] / "k8s"
Manifests = list[dict[str, Any]]


@pytest.fixture(scope="module")
def policies() -> ModuleType:
    spec = importlib.util.spec_from_file_location("policies", K8S / "policies.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def applied() -> Manifests:
    command = ["kubectl", "kustomize", str(K8S / "overlays" / "prod")]
    return list(yaml.safe_load_all(subprocess.run(command, check=True, capture_output=True).stdout))


def test_nothing_is_wrong_with_what_is_applied(policies: ModuleType, applied: Manifests) -> None:
    assert list(policies.faults(applied)) == []


def of(kind: str, name: str = "query") -> Callable[[Manifests], dict[str, Any]]:
    def find(manifests: Manifests) -> dict[str, Any]:
        wanted = (kind, f"data-on-demand-{name}")
        return next(one for one in manifests if (one["kind"], one["metadata"]["name"]) == wanted)

    return find


def pod(manifests: Manifests) -> dict[str, Any]:
    return dict(of("Deployment")(manifests)["spec"]["template"]["spec"])


def container(manifests: Manifests) -> dict[str, Any]:
    [found] = pod(manifests)["containers"]
    return dict(found)


def without(kind: str, name: str) -> Callable[[Manifests], None]:
    return lambda manifests: manifests.remove(of(kind, name)(manifests))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda all_: pod(all_)["securityContext"].pop("runAsNonRoot"), "runAsNonRoot is true"),
        (lambda all_: pod(all_)["securityContext"].pop("seccompProfile"), "seccompProfile"),
        (
            lambda all_: pod(all_)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
            "harmless types",
        ),
        (lambda all_: pod(all_)["volumes"].append({"name": "x", "emptyDir": {}}), "emptyDir has a limit"),
        (lambda all_: pod(all_)["topologySpreadConstraints"].clear(), "spread over nodes"),
        (lambda all_: container(all_)["securityContext"].pop("capabilities"), "capabilities are dropped"),
        (
            lambda all_: container(all_)["securityContext"].pop("readOnlyRootFilesystem"),
            "readOnlyRootFilesystem",
        ),
        (lambda all_: container(all_)["resources"]["limits"].pop("memory"), "limits but of CPU"),
        (lambda all_: container(all_)["resources"]["requests"].pop("cpu"), "requests"),
        (lambda all_: container(all_)["envFrom"].append({"secretRef": {"name": "x"}}), "no secret in its"),
        (lambda all_: container(all_)["ports"][0].update(hostPort=80), "no host port"),
        (without("PodDisruptionBudget", "query"), "a PodDisruptionBudget holds for it"),
        (without("ServiceAccount", "query"), "its ServiceAccount is its own"),
        (without("Service", "query"), "a Service leads to it"),
        (without("NetworkPolicy", "default-deny"), "traffic in and out is denied"),
        (
            lambda all_: of("Service")(all_)["spec"]["ports"][0].update(targetPort="admin"),
            "the admin port must",
        ),
        (without("Deployment", "ingest"), "scales nothing"),
        (lambda all_: of("Deployment")(all_)["spec"].update(replicas=2), "says replicas, too"),
    ],
)
def test_a_policy_notices_what_is_wrong(
    policies: ModuleType, applied: Manifests, change: Callable[[Manifests], object], rule: str
) -> None:
    changed = copy.deepcopy(applied)
    change(changed)
    faults = list(policies.faults(changed))
    assert any(rule in fault for fault in faults), faults
