"""A whole cluster on this machine: control plane, nodes, and a registry that is every registry.

All of it is in networks of its own; this process reaches it through sockets that it makes there.
Needs root. Everything is gone in the end, and after a kill at the next start.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from sandbox.kubernetes import cgroups
from sandbox.kubernetes.cluster_folders import cluster_folder, remove_leftovers
from sandbox.kubernetes.control_plane import ControlPlane
from sandbox.kubernetes.controllers import api_server_options, controllers
from sandbox.kubernetes.machines import Machine
from sandbox.kubernetes.networks import ROUTER, Addresses, cable, make_router, plug_in
from sandbox.kubernetes.node import Node
from sandbox.kubernetes.parts import find
from sandbox.registry import Registry, in_thread

MOST_NODES: Final = 8
NODE_SILENCE: Final = 20
_REGISTRY_PORT: Final = 5000
_READY_SECONDS: Final = 180
_VOLUME: Final = "10Gi"

Json = dict[str, Any]


class KubectlError(Exception):
    """kubectl failed; the text is what it said."""


class Cluster:
    """A cluster that runs; see ``running_cluster``."""

    def __init__(
        self, folder: Path, router: Machine, registry: Registry, *, node_silence: int
    ) -> None:
        self.folder = folder
        self.router = router
        self.registry = registry
        """Every image that a node can pull is in it, whatever registry it is said to be of."""
        self.nodes: dict[str, Node] = {}
        self._make_plane(node_silence)
        self._users = {
            f"node-{number}": {
                "kubelet": self.plane.add_user(f"system:node:node-{number}", "system:nodes"),
                "kube-proxy": proxy,
            }
            for proxy in [self.plane.add_user("system:kube-proxy")]
            for number in range(1, MOST_NODES + 1)
        }
        self._volumes = 0

    def _make_plane(self, node_silence: int) -> None:
        folder = self.folder / "control-plane"
        folder.mkdir(exist_ok=True)
        options = api_server_options(folder / "certificate.pem", folder / "key.pem")
        self.plane = ControlPlane(folder, self.router, options)
        self._controllers = controllers(self.plane, node_silence=node_silence)

    async def start(self) -> None:
        """Start the control plane. Raises ControlPlaneError."""
        await self.plane.start()
        for part in self._controllers.values():
            part.start()
        # The name on the API server's certificate, by which kubelets know it.
        self.kubectl(
            "create",
            "clusterrolebinding",
            "api-server",
            "--user=sandbox",
            "--clusterrole=system:kubelet-api-admin",
        )

    # ── nodes ──

    async def add_nodes(self, *numbers: int) -> list[Node]:
        """Let ``node-<number>`` join (1 to MOST_NODES), and wait until they are Ready."""
        joining = [await self._start_node(number) for number in numbers]
        await self.until_ready(*joining)
        return joining

    async def _start_node(self, number: int) -> Node:
        name, addresses = f"node-{number}", Addresses(number)
        group = f"{self.folder.name}/{name}"
        cgroups.make(group)
        machine = Machine(name, self.folder / name, addresses.node)
        try:
            await machine.start()
            plug_in(self.router, machine, addresses)
        except BaseException:
            await machine.stop()
            raise
        node = Node(
            machine,
            addresses,
            self._users[name],
            registry=self.registry.url,
            group=group,
            authority=self.plane.access.authority,
        )
        self.nodes[name] = node
        node.start()
        return node

    async def until_ready(self, *nodes: Node) -> None:
        """Wait until nodes have joined and are Ready. Raises KubectlError."""
        names = [f"node/{node.name}" for node in nodes]
        await asyncio.gather(*(self._until(n, "create") for n in names))
        await asyncio.gather(*(self._until(n, "condition=Ready") for n in names))

    async def _until(self, what: str, condition: str) -> None:
        arguments = ("wait", what, f"--for={condition}", f"--timeout={_READY_SECONDS}s")
        await asyncio.to_thread(self.kubectl, *arguments)

    async def remove_node(self, node: Node) -> None:
        """Switch a node off for ever, and delete its Node."""
        await node.stop()
        del self.nodes[node.name]
        self.kubectl("delete", "node", node.name, "--ignore-not-found")
        cgroups.remove(node.group)
        await asyncio.to_thread(shutil.rmtree, node.machine.folder)

    def cut(self, node: str) -> None:
        """Pull a node's cable: nobody hears of it, and it of nobody."""
        self.router.run("ip", "link", "set", cable(node), "down")

    def mend(self, node: str) -> None:
        """Plug it in again."""
        self.router.run("ip", "link", "set", cable(node), "up")

    def add_volumes(self, count: int) -> None:
        """Make PersistentVolumes of 10 GiB without a class, reached from each node."""
        for _ in range(count):
            self._volumes += 1
            path = self.folder / "volumes" / str(self._volumes)
            path.mkdir(parents=True)
            path.chmod(0o777)  # storage that knows fsGroup would see to it
            spec: Json = {
                "capacity": {"storage": _VOLUME},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": str(path)},
            }
            volume = {"metadata": {"name": f"volume-{self._volumes}"}, "spec": spec}
            self.apply({"apiVersion": "v1", "kind": "PersistentVolume", **volume})

    # ── its admin ──

    def apply(self, *objects: Json) -> None:
        """Apply objects. Raises KubectlError."""
        document = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(document))

    def kubectl(self, *arguments: str | Path, stdin: str = "") -> str:
        """What kubectl says as the admin. Blocks. Raises KubectlError."""
        done = subprocess.run(
            self.admin([find("kubectl"), *arguments]),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=self.admin_environment(),
        )
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout

    def admin(self, command: Sequence[str | Path]) -> Sequence[str | Path]:
        """A command of this machine's, in the network of the control plane."""
        return ["nsenter", f"--net=/proc/{self.router.first}/ns/net", "--", *command]

    def admin_environment(self) -> dict[str, str]:
        """What tells programs of the admin's which cluster it is."""
        return {**os.environ, "KUBECONFIG": str(self.plane.admin_config)}

    def get(self, *arguments: str) -> Json:
        """What ``kubectl get`` says, as JSON. Raises KubectlError."""
        return dict(json.loads(self.kubectl("get", *arguments, "-o", "json")))

    async def stop(self) -> None:
        """End all processes. Does nothing the second time."""
        for node in self.nodes.values():
            await node.stop()
        for part in self._controllers.values():
            await part.kill()
        await self.plane.kill()


@asynccontextmanager
async def running_cluster(
    nodes: int = 2, *, node_silence: int = NODE_SILENCE
) -> AsyncIterator[Cluster]:
    """A cluster with so many nodes that are Ready. Raises ControlPlaneError, KubectlError.

    A node becomes NotReady when its kubelet has been silent for ``node_silence`` seconds.
    """
    remove_leftovers()
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(cluster_folder())
        router = Machine("control-plane", folder / "control-plane", ROUTER)
        stack.push_async_callback(router.stop)
        await router.start()
        make_router(router)
        registry = Registry(address=ROUTER, port=_REGISTRY_PORT, socket_factory=router.socket)
        stack.enter_context(in_thread(registry))
        cluster = Cluster(folder, router, registry, node_silence=node_silence)
        stack.push_async_callback(cluster.stop)
        await cluster.start()
        await cluster.add_nodes(*range(1, nodes + 1))
        yield cluster
