"""Our images, and those that are warmed, in a registry that asks who pulls them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.version import VERSION
from sandbox.kubernetes.cluster import Cluster
from sandbox.kubernetes.our_images import PROGRAMS, put_our_images
from tests.e2e.installation import DEPLOY, Installation, installed
from tests.e2e.smoke import BOTH, warms_both_nodes

HOST = "registry.example.com"
USERNAME, PASSWORD = "puller", "correct horse"
LONGEST_SECONDS = 300.0
"""A kubelet looks for a Secret that was not there at most every other minute."""


def secret(name: str) -> list[str]:
    """What makes the Secret of the registry, as DEPLOYMENT says it."""
    who = [f"--docker-server={HOST}", f"--docker-username={USERNAME}"]
    return ["create", "secret", "docker-registry", name, *who, f"--docker-password={PASSWORD}"]


@pytest.fixture(scope="module")
def installation(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """DEPLOYMENT's own kustomization, with one coordinator."""
    put_our_images(cluster.registry, "private")
    for program in PROGRAMS:
        cluster.registry.protect(f"private/ips-{program}", USERNAME, PASSWORD)
    folder = tmp_path_factory.mktemp("my-ips")
    add = {"op": "add", "path": "/imagePullSecrets", "value": [{"name": "my-registry"}]}
    (folder / "kustomization.yaml").write_text(
        json.dumps(
            {
                "resources": [os.path.relpath(DEPLOY / "overlays/single", folder)],
                "images": [
                    {"name": f"ips-{program}", "newName": f"{HOST}/private/ips-{program}"}
                    for program in PROGRAMS
                ],
                "patches": [{"target": {"kind": "ServiceAccount"}, "patch": json.dumps([add])}],
            }
        )
    )
    before = [secret("my-registry")]
    with installed(cluster, Path(folder), servers=0, before=before) as installation:
        yield installation


async def test_our_own_images_are_pulled_with_the_secret_that_is_named(
    service: Installation,
) -> None:
    """Both programs are; nothing of them was to be had without it."""
    pods = service.get_object("pods")["items"]
    images = {c["image"] for pod in pods for c in pod["spec"]["containers"]}
    assert images == {f"{HOST}/private/ips-{program}:{VERSION}" for program in PROGRAMS}
    for program in PROGRAMS:
        assert service.requests(f"{HOST}/private/ips-{program}:{VERSION}")
    await warms_both_nodes(service)


async def test_credentials_that_are_made_later_reach_every_agent(service: Installation) -> None:
    """Without a restart: refused until then, and warm afterwards."""
    image = service.add_image()
    service.cluster.registry.protect(image.partition("/")[2].partition(":")[0], USERNAME, PASSWORD)
    seen = await service.over(await service.post([image], maxRetries=0))
    assert {node["reason"] for node in seen["failedNodeDetails"]} == {"Unauthorized"}
    service.kubectl(*secret("ips-registry"))
    async with asyncio.timeout(LONGEST_SECONDS):
        while seen["status"] != "completed":
            await asyncio.sleep(2.0)
            seen = await service.over(await service.post([image], maxRetries=0))
    assert seen["progress"]["completedNodes"] == len(BOTH)
