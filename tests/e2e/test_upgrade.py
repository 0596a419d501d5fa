"""From version 1.0.0, one token for all and no TLS, by the steps that DEPLOYMENT names."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.kubernetes.cluster import Cluster
from sandbox.kubernetes.our_images import PROGRAMS, build, make_base
from tests.e2e.installation import DEPLOY, NAMESPACE, USER, Installation
from tests.e2e.smoke import BOTH, warms_both_nodes
from tests.fixtures.version_before import unpack_version_before

DOCUMENTED = (DEPLOY / "DEPLOYMENT.md").read_text().partition("### From 1.0")[2]
STEPS = [
    line.removeprefix("kubectl ").split()
    for line in DOCUMENTED.partition("```sh")[2].partition("```")[0].splitlines()
    if line.startswith("kubectl ")
]
"""What an admin does before the apply."""
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def overlay(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its manifests as they are, with its own images under another name."""
    tree = unpack_version_before(tmp_path_factory.mktemp("before"))
    make_base()
    for program in PROGRAMS:
        arguments = {"CRICTL": "none"} if program == "agent" else {}
        image = build(program, "before", arguments, tree=tree)
        cluster.registry.put(f"before/ips-{program}", "1.0.0", image)
    folder = tmp_path_factory.mktemp("my-ips")
    whole = {
        "resources": [os.path.relpath(tree / "deploy", folder)],
        "images": [
            {"name": f"ips-{name}", "newName": f"registry.example.com/before/ips-{name}"}
            for name in PROGRAMS
        ],
    }
    (folder / "kustomization.yaml").write_text(json.dumps(whole))
    return folder


@pytest.fixture(scope="module")
def installation(cluster: Cluster, overlay: Path) -> Iterator[Installation]:
    """Version 1.0.0: three NATS servers, a coordinator, an agent on each node."""
    cluster.add_volumes(3)
    cluster.kubectl("apply", "-k", overlay)
    cluster.kubectl("-n", NAMESPACE, "create", "serviceaccount", USER)
    try:
        workloads = ["statefulset/ips-nats", "deployment/ips-coordinator", "daemonset/ips-agent"]
        yield Installation(cluster, workloads)
    finally:
        for folder in (DEPLOY, DEPLOY / "roles", DEPLOY / "namespace"):
            cluster.kubectl("delete", "-k", folder, "--ignore-not-found")


def left_of_before(cluster: Cluster) -> set[str]:
    """Objects whose names this version does not know, but for settings of before."""
    kinds = "clusterrole,clusterrolebinding,priorityclass,networkpolicy,role,rolebinding,job"
    found = cluster.kubectl("get", kinds, "-A", "-o", "name").split()
    old = {"api", "default-deny", "nats", "ips-agent", "ips-coordinator-events", "ips-nats-token"}
    cluster_wide = {
        f"{kind}.rbac.authorization.k8s.io/ips-coordinator"
        for kind in ("clusterrole", "clusterrolebinding")
    }
    known = {"networkpolicy.networking.k8s.io/ips-agent"}
    return {
        name for name in set(found) - known if name.partition("/")[2] in old or name in cluster_wide
    }


async def test_what_was_stored_and_what_runs_survives_the_way_from_1_0(
    service: Installation, record_property: Record
) -> None:
    """One task is over, one runs: neither loses anything, and no attempt is spent."""
    over = await service.post([service.add_image()])
    assert (await service.over(over))["status"] == "completed"
    image = service.add_image(held=True)
    running = await service.post([image])
    await service.pulling(running, 2)
    shared = service.get_object("secret", "ips-nats")["data"]["token"]
    began = time.monotonic()
    for step in STEPS:
        await asyncio.to_thread(service.cluster.kubectl, *step)
    for folder in (DEPLOY / "namespace", DEPLOY / "roles", DEPLOY):
        await asyncio.to_thread(service.cluster.kubectl, "apply", "-k", folder)
    service.kubectl(
        *("create", "rolebinding", USER, "--clusterrole=ips-admin"),
        f"--serviceaccount={NAMESPACE}:{USER}",
    )
    await service.rolled_out()
    await service.known_nodes(len(BOTH))
    record_property("until all was ready again", f"{time.monotonic() - began:.0f} s")
    assert (await service.get(f"/tasks/{over}"))["status"] == "completed"
    await service.pulling(running, 2)
    service.release(image)
    await service.ended_right(running, BOTH)
    await warms_both_nodes(service)
    assert not left_of_before(service.cluster)
    secret = service.get_object("secret", "ips-nats")["data"]
    agents = service.get_object("daemonset", "ips-agent")["spec"]["template"]["spec"]
    assert secret["token"] not in json.dumps(agents)
    assert secret["token"] != shared  # which every agent's pod had
    assert {"token", "route", "issuer", "tls.crt"} <= secret.keys()
