"""What the policy of the gate lets the coordinator change of a Node: its own, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from coordinator.nodes.api_server import ApiServer, PatchKind
from tests.fixtures.kubernetes import Json, Kube
from tests.kubernetes.conftest import UseConfig
from tests.kubernetes.gate_policy import NODE, UNFENCED, fenced, patched, until_fenced
from tests.kubernetes.roles import account
from tests.kubernetes.test_components import with_component
from tests.kubernetes.test_two_installations import built

pytestmark = [pytest.mark.kubernetes, pytest.mark.usefixtures("namespace")]

MERGE, STRATEGIC, JSON = PatchKind.MERGE, PatchKind.STRATEGIC, PatchKind.JSON
STATUS: Final = f"{NODE}/status"
TAINTS: Final = [
    {"key": "ips.dev/warming", "effect": "NoSchedule"},
    {"key": "example.com/mine", "effect": "NoSchedule", "value": "a"},
]
FENCED: Final[Json] = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {
        "name": "fenced",
        "labels": {"zone": "a", "ips.dev/other": "x"},
        "annotations": {"example.com/a": "b"},
        "finalizers": ["example.com/kept"],
    },
    "spec": {"podCIDR": "10.9.0.0/24", "podCIDRs": ["10.9.0.0/24"], "taints": TAINTS},
    "status": {
        "capacity": {"cpu": "2"},
        "allocatable": {"cpu": "2"},
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
    },
}


def condition(kind: str, status: str = "True") -> Json:
    """A patch of one condition."""
    return {"status": {"conditions": [{"type": kind, "status": status, "reason": "Test"}]}}


def gone(kind: str) -> Json:
    """A patch that takes one away."""
    return {"status": {"conditions": [{"$patch": "delete", "type": kind}]}}


OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1"}
REFUSED: Final[dict[str, tuple[str, Any, PatchKind]]] = {
    "capacity": (STATUS, {"status": {"capacity": {"cpu": "64"}}}, MERGE),
    "a new resource": (STATUS, {"status": {"capacity": {"example.com/gpu": "8"}}}, MERGE),
    "allocatable": (STATUS, {"status": {"allocatable": {"cpu": "1"}}}, MERGE),
    "addresses": (
        STATUS,
        [{"op": "replace", "path": "/status/addresses/0/address", "value": "10.6.6.6"}],
        JSON,
    ),
    "node info": (STATUS, {"status": {"nodeInfo": {"kernelVersion": "9"}}}, MERGE),
    "images": (STATUS, {"status": {"images": [{"names": ["a"], "sizeBytes": 1}]}}, MERGE),
    "another condition": (STATUS, condition("Ready", "False"), STRATEGIC),
    "a condition added": (STATUS, condition("example.com/mine"), STRATEGIC),
    "a condition like ours": (STATUS, condition("ips.dev/warm"), STRATEGIC),
    "a condition removed": (STATUS, gone("Ready"), STRATEGIC),
    "all conditions removed": (STATUS, {"status": {"conditions": None}}, MERGE),
    "a label": (NODE, {"metadata": {"labels": {"zone": "b"}}}, MERGE),
    "a label added": (NODE, {"metadata": {"labels": {"ips.dev/more": "true"}}}, MERGE),
    "a label removed": (NODE, {"metadata": {"labels": {"zone": None}}}, MERGE),
    "a label of another value": (NODE, {"metadata": {"labels": {"ips.dev/warm.a": "b"}}}, MERGE),
    "a label by the status": (STATUS, {"metadata": {"labels": {"zone": "b"}}}, MERGE),
    "an annotation": (NODE, {"metadata": {"annotations": {"example.com/a": "c"}}}, MERGE),
    "an annotation added": (NODE, {"metadata": {"annotations": {"x": "y"}}}, MERGE),
    "an annotation removed": (NODE, {"metadata": {"annotations": None}}, MERGE),
    "finalizers": (NODE, {"metadata": {"finalizers": None}}, MERGE),
    "owners": (NODE, {"metadata": {"ownerReferences": [OWNER]}}, MERGE),
    "unschedulable": (NODE, {"spec": {"unschedulable": True}}, MERGE),
    "provider": (NODE, {"spec": {"providerID": "x://y"}}, MERGE),
    "another taint removed": (NODE, {"spec": {"taints": TAINTS[:1]}}, MERGE),
    "all taints removed": (NODE, {"spec": {"taints": None}}, MERGE),
    "a taint added": (
        NODE,
        {"spec": {"taints": [*TAINTS, {"key": "example.com/b", "effect": "NoExecute"}]}},
        MERGE,
    ),
    "a taint of ours added": (
        NODE,
        {"spec": {"taints": [*TAINTS, {"key": "ips.dev/b", "effect": "NoExecute"}]}},
        MERGE,
    ),
    "an effect": (
        NODE,
        [{"op": "replace", "path": "/spec/taints/1/effect", "value": "NoExecute"}],
        JSON,
    ),
    "an effect of ours": (
        NODE,
        [{"op": "replace", "path": "/spec/taints/0/effect", "value": "NoExecute"}],
        JSON,
    ),
    "a value": (NODE, [{"op": "replace", "path": "/spec/taints/1/value", "value": "b"}], JSON),
}
"""Each is refused to the coordinator alone."""
ALLOWED: Final[list[tuple[str, Any, PatchKind]]] = [
    (STATUS, condition("ips.dev/warm-web"), STRATEGIC),
    (STATUS, condition("ips.dev/warm-web", "False"), STRATEGIC),
    (STATUS, gone("ips.dev/warm-web"), STRATEGIC),
    (NODE, {"metadata": {"labels": {"ips.dev/warm.web": "true"}}}, MERGE),
    (NODE, {"metadata": {"labels": {"ips.dev/warm.web": None}}}, MERGE),
    (NODE, [{"op": "remove", "path": "/spec/taints/0"}], JSON),
]


@pytest.fixture
async def node(kube: Kube) -> AsyncIterator[Json]:
    """A Node with something in every part; it is let go at the end."""
    await kube.call("POST", "/api/v1/nodes", FENCED)
    yield await kube.call("GET", NODE)
    await kube.call("PATCH", NODE, {"metadata": {"finalizers": None}})


async def test_of_a_node_only_what_is_ours_may_be_changed(
    kube: Kube, node: Json, use_config: UseConfig, tmp_path: Path
) -> None:
    """One API server and one policy for all of it: it takes seconds until that holds."""
    async with fenced(kube, tmp_path):
        use_config(await account(kube, "ips-coordinator", tmp_path))
        async with ApiServer.connected() as api:
            await until_fenced(api)
            await kube.call("PATCH", NODE, {"metadata": {"annotations": {UNFENCED: None}}})
            said = {what: await patched(api, *patch) for what, patch in REFUSED.items()}
            wrong = {what: text for what, text in said.items() if "Prewarm Service may" not in text}
            assert wrong == {}
            after = await kube.call("GET", NODE)
            assert [after[part] == node[part] for part in ("spec", "status")] == [True, True]
            for patch in ALLOWED:
                assert await patched(api, *patch) == ""
            left = await kube.call("GET", NODE)
            assert left["spec"]["taints"] == node["spec"]["taints"][1:]
            assert left["spec"]["taints"][0] == TAINTS[1]
            assert left["status"]["conditions"] == node["status"]["conditions"]
        # Others are not concerned: neither the admin nor what has a role for just that.
        await kube.call("PATCH", STATUS, {"status": {"capacity": {"cpu": "4"}}})
        await kube.call("PATCH", NODE, {"metadata": {"labels": {"zone": "b"}}})


@pytest.mark.parametrize(("namespace", "prefix"), [("tools", ""), ("tools", "b-"), (None, "")])
def test_the_policy_follows_namespace_and_prefix(
    tmp_path: Path, namespace: str | None, prefix: str
) -> None:
    """Two installations have two, as they have two roles."""
    wanted = {} if namespace is None else {"namespace": namespace, "namePrefix": prefix}
    objects = built(with_component(tmp_path, "gate", **wanted))
    name = f"{prefix}{namespace or 'ips-system'}"
    found = {each["kind"]: each for each in objects if "Admission" in each["kind"]}
    policy, binding = found["ValidatingAdmissionPolicy"], found["ValidatingAdmissionPolicyBinding"]
    assert {each["metadata"]["name"] for each in (policy, binding)} == {name}
    assert binding["spec"]["policyName"] == name
    [role] = [each for each in objects if each["kind"] == "ClusterRole"]
    assert role["metadata"]["name"] == name
    assert {"apiGroups": ["ips.dev"], "resources": ["gates"], "verbs": ["keep"]} in role["rules"]
    [config] = [
        each for each in objects if each["kind"] == "ConfigMap" and "IPS_GATES" in each["data"]
    ]
    assert config["data"]["IPS_GATES"] == "on"


def test_kubernetes_takes_the_policy_of_another_namespace(kube: Kube, tmp_path: Path) -> None:
    """Kustomize does not know that these kinds are in none, and names one in them."""
    objects = built(with_component(tmp_path, "gate", namespace="tools"))
    file = tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump_all(o for o in objects if "Admission" in o["kind"]))
    said = kube.kubectl("apply", "-f", file, "--validate=strict", "--dry-run=server")
    assert said.count("created") == 2
