"""The least that every installation does."""

from __future__ import annotations

import asyncio
import secrets

from sandbox.kubernetes.cluster import Cluster
from tests.e2e.installation import Installation

BOTH = ["node-1", "node-2"]
"""The nodes that every test finds."""


async def warms_both_nodes(service: Installation) -> None:
    """Warm all nodes with an image; pods that need it start on each without a pull.

    The kubelets say that it is "already present", and the registry is asked nothing.
    """
    image = service.add_image()
    task = await service.post([image], nodeSelector={"kubernetes.io/os": "linux"})
    await service.ended_right(task, BOTH)
    asked = service.requests(image)
    for node in BOTH:
        said = await run_pod(service.cluster, image, node)
        assert [text for text in said if "already present on machine" in text], said
        assert not [text for text in said if text.startswith("Pulling")], said
    assert service.requests(image) == asked


async def tells_of_a_failed_pull(service: Installation) -> None:
    """Have a pull fail on a node: an Event on the node names image and task."""
    image = "registry.example.com/shop/no-such-image:1"
    task = await service.post([image], nodeNames=["node-2"])
    seen = await service.over(task)
    assert seen["status"] == "failed"
    assert seen["failedNodeDetails"][0]["reason"] == "ImageNotFound"
    said = await service.event_on_node("node-2", task)
    assert image in said


async def run_pod(cluster: Cluster, image: str, node: str) -> list[str]:
    """Run a pod on a node until it is Ready, and delete it; what its events say."""
    name = f"pod-{secrets.token_hex(4)}"
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "nodeName": node,
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "main", "image": image}],
            },
        }
    )
    wait = ("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=120s")
    await asyncio.to_thread(cluster.kubectl, *wait)
    events = cluster.get("events", f"--field-selector=involvedObject.name={name}")
    await asyncio.to_thread(cluster.kubectl, "delete", "pod", name)
    return [event["message"] for event in events["items"]]
