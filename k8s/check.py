"""Validate the manifests, offline; `make files` calls it.

Each one strictly against the schemas of the oldest and the newest Kubernetes we name, alone and as kustomize
renders base, overlays and components; then against the policies in `policies.py`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import policies
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
VERSIONS = ("1.31", "1.37")
"""`unhealthyPodEvictionPolicy` is stable since 1.31."""
CUSTOM = {
    "monitoring.coreos.com/v1": {"PodMonitor", "PrometheusRule"},
    "mongodbcommunity.mongodb.com/v1": {"MongoDBCommunity"},
}
"""Kinds of operators, whose schemas are in their clusters."""

Manifest = dict[str, Any]


def folders() -> list[Path]:
    """Folders that are applied: the base and each overlay."""
    return [HERE / "base", *sorted((HERE / "overlays").iterdir())]


def rendered(kubectl: str) -> Iterator[tuple[str, list[Manifest]]]:
    """Each overlay, and the base with each component, as kustomize makes them."""
    for folder in folders():
        yield folder.name, _render(kubectl, folder)
    for component in sorted((HERE / "components").iterdir()):
        with tempfile.TemporaryDirectory(dir=HERE, prefix=".check-") as made:
            what = {"resources": ["../base"], "components": [f"../components/{component.name}"]}
            Path(made, "kustomization.yaml").write_text(yaml.safe_dump(what))
            yield f"component {component.name}", _render(kubectl, Path(made))


def _render(kubectl: str, folder: Path) -> list[Manifest]:
    done = subprocess.run([kubectl, "kustomize", str(folder)], check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{folder.name}: {done.stderr.strip()}")
    return list(yaml.safe_load_all(done.stdout))


def on_disk() -> Iterator[tuple[str, list[Manifest]]]:
    """The files that kustomizations name as resources."""
    for kustomization in sorted(HERE.rglob("kustomization.yaml")):
        for name in yaml.safe_load(kustomization.read_text()).get("resources", []):
            path = kustomization.parent / name
            if path.is_file():
                yield str(path.relative_to(HERE)), list(yaml.safe_load_all(path.read_text()))


def schema_faults(manifest: Manifest) -> Iterator[str]:
    """Faults that the API server would refuse, misspelt fields included."""
    if manifest["kind"] in CUSTOM.get(manifest["apiVersion"], ()):
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"Kubernetes {version}: {'.'.join(map(str, error.path))}: {error.message}"


def faults() -> Iterator[str]:
    """All faults, each with its place."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        print("skipped: kubectl is not installed, so no kustomization is rendered")
        whole: list[tuple[str, list[Manifest]]] = []
    else:
        whole = list(rendered(kubectl))
    for place, manifests in [*on_disk(), *whole]:
        for manifest in manifests:
            for fault in schema_faults(manifest):
                yield f"{place}: {manifest['kind']} {manifest['metadata']['name']}: {fault}"
    for place, manifests in whole:
        for fault in policies.faults(manifests):
            yield f"{place}: {fault}"


def main() -> int:
    """Print every fault; 1 if there is any."""
    found = list(faults())
    print(*found, sep="\n", end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
