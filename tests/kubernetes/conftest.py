"""A node source that watches the real API server, over a wire that can be cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from coordinator.nodes.watched import WatchedNodes
from sandbox.kubernetes.kubeconfig import Access
from tests.fixtures.kubernetes import Kube
from tests.kubernetes.table import Table
from tests.kubernetes.wire import Wire, wire_to

NAMESPACE = "ips-system"
GROUPS = (
    "/api/v1",
    "/apis/apps/v1",
    "/apis/autoscaling/v2",
    "/apis/batch/v1",
    "/apis/policy/v1",
    "/apis/networking.k8s.io/v1",
    "/apis/rbac.authorization.k8s.io/v1",
)
"""The API groups of everything that deploy/ puts into the namespace."""
UseConfig = Callable[[Path], None]
Watch = Callable[[Path], Awaitable[tuple[WatchedNodes, Table]]]


@pytest.fixture
def use_config(monkeypatch: pytest.MonkeyPatch) -> UseConfig:
    """Let the client in this process take a kubeconfig from now on."""

    def use(config: Path) -> None:
        # What the client took from the environment when it was imported.
        name = "kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
        monkeypatch.setattr(name, str(config))

    return use


@pytest.fixture
async def watch(use_config: UseConfig) -> AsyncIterator[Watch]:
    """Start a node source with a kubeconfig; it ends with the test."""
    async with AsyncExitStack() as stack:

        async def start(config: Path) -> tuple[WatchedNodes, Table]:
            use_config(config)
            table = Table()
            nodes = WatchedNodes(table)
            running = asyncio.create_task(nodes.run())

            async def end() -> None:
                running.cancel()
                await asyncio.wait([running])
                if not running.cancelled():
                    raise AssertionError from running.exception()

            stack.push_async_callback(end)
            return nodes, table

        yield start


@pytest.fixture
async def wire(kube: Kube) -> AsyncIterator[Wire]:
    """A wire to the API server."""
    async with wire_to(int(kube.plane.access.url.rpartition(":")[2])) as wire:
        yield wire


@pytest.fixture
def wired_config(kube: Kube, wire: Wire, tmp_path: Path) -> Path:
    """The admin's kubeconfig over the wire."""
    access = Access(f"https://127.0.0.1:{wire.port}", kube.plane.access.authority)
    return access.kubeconfig(tmp_path / "wired.kubeconfig", {"token": kube.plane.admin_token})


@pytest.fixture
async def no_namespace(kube: Kube) -> AsyncIterator[None]:
    """Begin without the service's namespace, and leave none behind."""
    yield
    everything = await kube.call("GET", "/api/v1/namespaces")
    if NAMESPACE in {item["metadata"]["name"] for item in everything["items"]}:
        await _remove_namespace(kube)


@pytest.fixture
async def namespace(kube: Kube, no_namespace: None) -> None:
    """Make the service's namespace, empty."""
    del no_namespace
    await kube.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})


async def _remove_namespace(kube: Kube) -> None:
    """Do the namespace controller's work, for which an API server alone has nobody."""
    namespace = f"/api/v1/namespaces/{NAMESPACE}"
    await kube.call("DELETE", namespace)
    for group in GROUPS:
        for kind in (await kube.call("GET", group))["resources"]:
            if kind["name"] == "endpoints":
                continue  # deprecated, which the server would say
            if kind["namespaced"] and "deletecollection" in kind["verbs"]:
                path = f"{group}/namespaces/{NAMESPACE}/{kind['name']}"
                await kube.call("DELETE", path, propagationPolicy="Background")
    finalized = {"metadata": {"name": NAMESPACE}, "spec": {"finalizers": []}}
    await kube.call("PUT", f"{namespace}/finalize", finalized)
