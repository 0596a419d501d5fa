"""``deploy/overlays/single``: one coordinator that has its own NATS, on a volume."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator

import pytest

from sandbox.kubernetes.cluster import Cluster, KubectlError
from sandbox.kubernetes.parts import find
from tests.e2e.installation import DEPLOY, NAMESPACE, Installation, installed
from tests.e2e.smoke import BOTH, tells_of_a_failed_pull, warms_both_nodes

OVERLAY = DEPLOY / "overlays/single"
ROLES = ("view", "edit", "admin")
"""Of all installations of a cluster: ``deploy/roles``."""
OURS = "image-prewarm-service/installation=ips-coordinator"


@pytest.fixture(scope="module")
def installation(cluster: Cluster) -> Iterator[Installation]:
    """One coordinator, an agent on each node, and nothing else."""
    with installed(cluster, OVERLAY, servers=0) as installation:
        yield installation


async def test_a_task_warms_both_nodes_and_a_pod_starts_without_a_pull(
    service: Installation,
) -> None:
    """The agents find the coordinator's NATS, and its token."""
    await warms_both_nodes(service)


async def test_a_pull_that_fails_is_an_event_on_its_node(service: Installation) -> None:
    """Here, too, where another namespace is over the components."""
    await tells_of_a_failed_pull(service)


async def test_a_coordinator_that_is_killed_in_the_middle_of_a_task_finds_all_on_its_volume(
    service: Installation,
) -> None:
    """Its NATS dies with it: what was stored is there again, and no attempt is spent."""
    image = service.add_image(held=True)
    task = await service.post([image])
    await service.pulling(task, 2)
    before = await service.pod("ips-coordinator")
    service.kill_pod(before)
    await service.pod("ips-coordinator", other_than=before)
    await service.pulling(task, 2)
    service.release(image)
    await service.ended_right(task, BOTH)


async def test_deleted_nothing_of_it_is_left(service: Installation) -> None:
    """Neither in its namespace nor beside it; the namespace is for the admin to delete."""
    cluster = service.cluster
    # Settings are in a ConfigMap whose name changes with them: what was before is here, too.
    service.kubectl("create", "configmap", "ips-coordinator-before")
    service.kubectl("label", "configmap", "ips-coordinator-before", OURS)
    make = ["make", f"--directory={DEPLOY.parent}", "k8s-delete", f"OVERLAY={OVERLAY}"]
    deleting = cluster.admin([*make, f"KUBECTL={find('kubectl')}"])
    env = cluster.admin_environment()
    await asyncio.to_thread(subprocess.run, deleting, check=True, env=env)
    kinds = "all,pvc,secret,configmap,networkpolicy,ingress,pdb,role"
    not_ours = "--field-selector=metadata.name!=kube-root-ca.crt"
    left = service.kubectl("get", kinds, not_ours, "-o", "name")
    assert left == ""
    cluster.kubectl("delete", "-k", DEPLOY / "namespace")
    with pytest.raises(KubectlError, match="not found"):
        cluster.kubectl("get", "namespace", NAMESPACE)
    kinds = "clusterroles,clusterrolebindings,priorityclasses,roles,rolebindings"
    names = cluster.kubectl("get", kinds, "-A", "-o", "name").splitlines()
    assert names
    shared = {f"clusterrole.rbac.authorization.k8s.io/ips-{role}" for role in ROLES}
    assert [name for name in names if "/ips-" in name and name not in shared] == []
