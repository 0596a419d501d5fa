"""Pods of the cluster's users."""

from __future__ import annotations

import asyncio
import secrets

from sandbox.kubernetes.cluster import Cluster


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
