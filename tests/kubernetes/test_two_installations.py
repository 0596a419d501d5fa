"""Another namespace, a prefix, several installations beside one another: none touches another's."""

from __future__ import annotations

import os.path
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.kubernetes.parts import find
from tests.fixtures.kubernetes import Json, Kube
from tests.kubernetes.manifests import DEPLOY, OVERLAYS, build, one, pod_specs

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(180)]

INSTALLATION = "image-prewarm-service/installation"
KEPT = {
    "ips-registry",  # made by hand, and of use for all
    *("ips-coordinator", "ips-agent", "ips-nats"),  # what a pod is, by its label
    *("ips-coordinator:1.0.0", "ips-agent:1.0.0"),  # images
    "ips.example.com",
}
"""What holds the service's name and is the same everywhere."""


def customized(folder: Path, overlay: str, **wanted: Any) -> Path:
    """A kustomization as an admin writes it, on top of an overlay."""
    folder.mkdir()
    whole = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(DEPLOY / overlay, folder)],
        **wanted,
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(whole))
    return folder


def built(folder: Path) -> list[Json]:
    """Every object of a kustomization."""
    made = subprocess.run(
        [find("kubectl"), "kustomize", folder], check=True, capture_output=True, text=True
    )
    assert made.stderr == "", made.stderr
    return list(yaml.safe_load_all(made.stdout))


def texts(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Every text in an object, with the path to it."""
    if isinstance(value, dict):
        return [found for key, each in value.items() for found in texts(each, f"{path}/{key}")]
    if isinstance(value, list):
        return [found for each in value for found in texts(each, path)]
    return [(path, value)] if isinstance(value, str) else []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_name_follows_namespace_and_prefix(tmp_path: Path, overlay: str) -> None:
    """Nothing is left that another installation has, too."""
    monitoring = os.path.relpath(DEPLOY / "components/monitoring", tmp_path / "mine")
    objects = built(
        customized(
            tmp_path / "mine",
            overlay,
            namespace="tools",
            namePrefix="b-",
            components=[monitoring],
        )
    )
    left = {
        (item["kind"], path, text)
        for item in objects
        for path, text in texts(item)
        if re.search(r"(?<!b-)\bips-|ips-system", text) and text not in KEPT
        if not path.startswith("/data/")
    }
    assert left == set()
    for item in objects:
        assert item["metadata"]["name"].startswith("b-"), item["metadata"]["name"]
        assert item["metadata"].get("namespace", "tools") == "tools"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_in_no_namespace_is_named_by_it(tmp_path: Path, overlay: str) -> None:
    """And no Namespace is among what a removal deletes."""
    names = []
    for namespace in ("tools", "others"):
        objects = built(customized(tmp_path / namespace, overlay, namespace=namespace))
        assert "Namespace" not in {item["kind"] for item in objects}
        names.append(
            {
                (o["kind"], o["metadata"]["name"])
                for o in objects
                if "namespace" not in o["metadata"]
            }
        )
        for binding in (o for o in objects if o["kind"].endswith("Binding")):
            assert [s["namespace"] for s in binding["subjects"]] == [namespace]
        priority = pod_specs(objects)["DaemonSet/ips-agent"]["priorityClassName"]
        assert priority == one(objects, "PriorityClass", namespace)["metadata"]["name"]
    assert len(names[0]) == 3
    assert names[0].isdisjoint(names[1])


def test_pods_of_two_installations_in_one_namespace_are_told_apart(tmp_path: Path) -> None:
    """No selector of the one matches a pod of the other."""
    first = build(".")
    second = built(customized(tmp_path / "b", ".", namePrefix="b-"))
    for mine, others in ((first, second), (second, first)):
        labels = [o["spec"]["template"]["metadata"]["labels"] for o in others if _runs(o)]
        assert len(labels) == 3
        for selector in _selectors(mine):
            assert not [each for each in labels if selector.items() <= each.items()], selector


def test_the_servers_of_nats_seek_those_of_their_own(tmp_path: Path) -> None:
    """Addresses, cluster name and Secret are put together of names that follow the prefix."""
    objects = built(customized(tmp_path / "b", ".", namePrefix="b-"))
    [container] = pod_specs(objects)["StatefulSet/b-ips-nats"]["containers"]
    env = {each["name"]: each.get("value", "") for each in container["env"]}
    assert (env["CLUSTER"], env["PEERS"]) == ("b-ips-nats", "b-ips-nats-peers")
    assert env["ROUTE_2"].endswith("@$(CLUSTER)-2.$(PEERS):6222")
    for workload in ("Deployment/b-ips-coordinator", "DaemonSet/b-ips-agent"):
        [container] = pod_specs(objects)[workload]["containers"]
        env = {each["name"]: each.get("value", "") for each in container["env"]}
        assert (env["NATS"], env["IPS_NATS_URL"]) == ("b-ips-nats", "tls://$(NATS):4222")
    # What an agent has half pulled is its installation's: two share the node's runtime.
    assert env["COORDINATOR"] == "b-ips-coordinator"
    assert env["IPS_INSTALLATION"] == "$(COORDINATOR).$(NAMESPACE)"
    [secret] = [rule["resourceNames"] for r in objects for rule in r.get("rules", []) if
                "resourceNames" in rule]  # fmt: skip
    assert secret == ["b-ips-nats", "b-ips-nats-keys", "b-ips-nats-ca"]


@pytest.fixture
async def namespaces(kube: Kube) -> AsyncIterator[Kube]:
    """Two namespaces of somebody else's."""
    for name in ("tools", "others"):
        kube.kubectl("create", "namespace", name)
    yield kube
    for name in ("tools", "others"):
        await kube.call("DELETE", f"/api/v1/namespaces/{name}")
        finalized = {"metadata": {"name": name}, "spec": {"finalizers": []}}
        await kube.call("PUT", f"/api/v1/namespaces/{name}/finalize", finalized)


def remaining(kube: Kube, folder: Path) -> list[str]:
    """What kubectl finds of a kustomization."""
    return kube.kubectl("get", "-k", folder, "-o", "name", "--ignore-not-found").split()


async def test_the_removal_of_a_third_leaves_two_others_alone(
    namespaces: Kube, tmp_path: Path
) -> None:
    """One in a namespace of its own, two in another's, which hold something unrelated, too."""
    kube = namespaces
    folders = [
        customized(tmp_path / "a", "overlays/single", namespace="tools"),
        customized(tmp_path / "b", ".", namespace="others"),
        customized(tmp_path / "c", ".", namespace="others", namePrefix="c-"),
    ]
    kube.kubectl("-n", "others", "create", "configmap", "unrelated")
    for folder in folders:
        kube.kubectl("apply", "-k", folder)
    for folder in folders:
        assert kube.kubectl("diff", "-k", folder) == ""
    kube.kubectl("delete", "-k", folders[2], "--wait=false")
    assert remaining(kube, folders[2]) == []
    for folder in folders[:2]:
        assert len(remaining(kube, folder)) == len(built(folder))
        assert kube.kubectl("diff", "-k", folder) == ""
    assert kube.kubectl("-n", "others", "get", "configmap", "unrelated", "-o", "name")
    assert "pod-security" not in kube.kubectl("get", "namespace", "others", "-o", "yaml")
    for folder in folders[:2]:
        kube.kubectl("delete", "-k", folder, "--wait=false")
        assert remaining(kube, folder) == []
    assert kube.kubectl("-n", "others", "get", "configmap", "unrelated", "-o", "name")


def _runs(item: Json) -> bool:
    return "template" in item.get("spec", {})


def _selectors(objects: list[Json]) -> list[dict[str, str]]:
    """What each object picks pods by."""
    found = []
    for item in objects:
        spec = item.get("spec", {})
        selector = spec.get("podSelector", spec.get("selector"))
        if selector is not None:
            found.append(dict(selector.get("matchLabels", selector)))
        for ingress in spec.get("ingress", []):
            found += [
                dict(peer["podSelector"]["matchLabels"])
                for peer in ingress.get("from", [])
                if "podSelector" in peer
            ]
    return found
