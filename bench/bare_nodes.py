"""Node objects without a machine, and a kubelet that only says that their pods ran and ended.

It tells the API server less than a kubelet does: what Jobs are measured at is the least they cost.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from sandbox.kubernetes.control_plane import ControlPlane

PREFIX = "bare-"
_PATCH = {"Content-Type": "application/strategic-merge-patch+json"}

Json = dict[str, Any]


async def make_bare_nodes(plane: ControlPlane, names: Sequence[str]) -> None:
    """Create Nodes that are Ready. Raises aiohttp.ClientResponseError."""
    status: Json = {
        "conditions": [{"type": "Ready", "status": "True", "reason": "Bench"}],
        "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
        "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
    }
    async with plane.client() as http:
        for name in names:
            node = {"metadata": {"name": name}, "status": status}
            async with http.post(f"{plane.access.url}/api/v1/nodes", json=node) as answer:
                answer.raise_for_status()


@asynccontextmanager
async def pretended_kubelets(plane: ControlPlane, namespace: str) -> AsyncIterator[None]:
    """Let pods of a namespace on bare nodes end well as soon as they are there."""
    async with plane.client() as http:
        running = asyncio.create_task(_pretend(plane, http, namespace))
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait([running])


async def _pretend(plane: ControlPlane, http: aiohttp.ClientSession, namespace: str) -> None:
    url = f"{plane.access.url}/api/v1/namespaces/{namespace}/pods"
    async with asyncio.TaskGroup() as group:
        async for kind, pod in watched(http, url):
            if kind == "ADDED" and pod["spec"].get("nodeName", "").startswith(PREFIX):
                group.create_task(_run(http, f"{url}/{pod['metadata']['name']}/status", pod))


async def _run(http: aiohttp.ClientSession, url: str, pod: Mapping[str, Any]) -> None:
    for phase, state in (
        ("Running", {"running": {}}),
        ("Succeeded", {"terminated": {"exitCode": 0, "reason": "Completed"}}),
    ):
        container = {
            "name": pod["spec"]["containers"][0]["name"],
            "state": state,
            "ready": phase == "Running",
            "restartCount": 0,
            "image": "",
            "imageID": "",
        }
        status = {"phase": phase, "containerStatuses": [container]}
        async with http.patch(url, json={"status": status}, headers=_PATCH) as answer:
            answer.raise_for_status()


async def watched(
    http: aiohttp.ClientSession, url: str, **query: str
) -> AsyncIterator[tuple[str, Json]]:
    """What there is and what happens to it, as (ADDED, MODIFIED or DELETED, object)."""
    query |= {"watch": "true", "timeoutSeconds": "3600"}
    timeout = aiohttp.ClientTimeout(total=None)
    async with http.get(url, params=query, timeout=timeout, read_bufsize=2**20) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            event = json.loads(line)
            yield event["type"], event["object"]
