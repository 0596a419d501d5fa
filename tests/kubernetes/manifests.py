"""What ``kubectl apply -k`` of a folder sends, as documents."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from sandbox.kubernetes.parts import find

DEPLOY = Path(__file__).parents[2] / "deploy"
OVERLAYS = [".", "overlays/single", "overlays/k3s", "overlays/microk8s", "overlays/crio"]

Json = dict[str, Any]


def build(overlay: str) -> list[Json]:
    """Every object of an overlay."""
    command: list[str | Path] = [find("kubectl"), "kustomize", DEPLOY / overlay]
    made = subprocess.run(command, check=True, capture_output=True, text=True)
    assert made.stderr == "", made.stderr  # kustomize warns of what it will not do for ever
    return list(yaml.safe_load_all(made.stdout))


def pod_specs(objects: list[Json]) -> dict[str, Json]:
    """The pod spec of each workload, by its kind and name."""
    return {
        f"{item['kind']}/{item['metadata']['name']}": item["spec"]["template"]["spec"]
        for item in objects
        if "template" in item.get("spec", {})
    }


def one(objects: list[Json], kind: str, name: str) -> Json:
    """The object of a kind and name."""
    [found] = [
        item
        for item in objects
        if item["kind"] == kind and item["metadata"]["name"].startswith(name)
    ]
    return found
