"""The service as an admin installs it into the cluster, and what its users see of it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from sandbox.images import make_layer
from sandbox.kubernetes.cluster import Cluster, KubectlError
from sandbox.kubernetes.node_images import runnable
from tests.fixtures.user import Json, User

DEPLOY = Path(__file__).parents[2] / "deploy"
NAMESPACE = "ips-system"
USER = "somebody"
"""The ServiceAccount by which the tests use the API."""
_SIZE = 4_000_000
_HELD_AT = 1_000_000
_PATIENCE_SECONDS = 180.0
_ROLLOUT = "--timeout=300s"
_COORDINATOR = "deployment/ips-coordinator"
_AGENTS = "daemonset/ips-agent"


class Installation(User):
    """What ``kubectl apply -k`` of an overlay made, used from a node by the Service's address."""

    patience = 4.0

    def __init__(self, cluster: Cluster, workloads: Sequence[str]) -> None:
        self.cluster = cluster
        self.workloads = workloads
        service = self.get_object("service", "ips-coordinator")
        self._address = str(service["spec"]["clusterIP"])

    @property
    def url(self) -> str:
        """The Service's own address, which every node knows the way from."""
        return f"http://{self._address}"

    def session(self, node: str = "node-1") -> aiohttp.ClientSession:
        """A client on a node with a token of its own. Blocks for that.

        Each request has a connection of its own, to whichever pod is.
        """
        connector = aiohttp.TCPConnector(
            socket_factory=self.cluster.nodes[node].machine.socket, force_close=True
        )
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=20)
        token = self.kubectl("create", "token", USER, "--duration=2h").strip()
        headers = {"Authorization": f"Bearer {token}"}
        return aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers)

    # ── its admin ──

    def kubectl(self, *arguments: str) -> str:
        """What kubectl says of the service's namespace. Blocks."""
        return self.cluster.kubectl("-n", NAMESPACE, *arguments)

    def get_object(self, *what: str) -> Json:
        """An object, or a list of them, of the service's namespace. Blocks."""
        return self.cluster.get("-n", NAMESPACE, *what)

    async def rolled_out(self) -> None:
        """Wait until every workload is as it is to be."""
        for workload in self.workloads:
            await asyncio.to_thread(self.kubectl, "rollout", "status", workload, _ROLLOUT)

    async def pod(self, app: str, *, node: str = "", other_than: str = "") -> str:
        """Wait for a pod of a workload that is ready, on a node perhaps; its name.

        ``other_than`` is the name of one that is to be gone.
        """
        selector = f"--selector=app.kubernetes.io/name={app}"
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                found = await asyncio.to_thread(self.get_object, "pods", selector)
                for pod in found["items"]:
                    name = str(pod["metadata"]["name"])
                    there = not node or pod["spec"].get("nodeName") == node
                    if there and name != other_than and _is_ready(pod):
                        return name
                await asyncio.sleep(0.2)

    async def node_of(self, app: str) -> str:
        """The node of the pod of a workload that is ready."""
        return str(self.get_object("pod", await self.pod(app))["spec"]["nodeName"])

    async def coordinators(self) -> dict[str, str]:
        """The coordinators that are ready and stay, and the node of each."""
        selector = "--selector=app.kubernetes.io/name=ips-coordinator"
        found = await asyncio.to_thread(self.get_object, "pods", selector)
        return {
            str(pod["metadata"]["name"]): str(pod["spec"]["nodeName"])
            for pod in found["items"]
            if _is_ready(pod)
        }

    async def leader(self) -> str:
        """Wait until somebody leads; the name of the pod."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                with suppress(aiohttp.ClientError):
                    if leader := (await self.get("/leader")).get("leader"):
                        return str(leader).partition(":")[0]
                await asyncio.sleep(0.1)

    async def led_by_another_than(self, pod: str, *, asked_from: str = "node-1") -> None:
        """Wait until another one leads, as somebody on a node is told."""
        async with asyncio.timeout(_PATIENCE_SECONDS), self.session(asked_from) as http:
            leader = ""
            while leader in {"", pod}:
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with asyncio.timeout(1), http.get(f"{self.api}/leader") as answer:
                        leader = str((await answer.json()).get("leader", "")).partition(":")[0]
                await asyncio.sleep(0.05)

    async def gone(self, pods: set[str]) -> None:
        """Wait until none of these coordinators is ready any more."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while pods & set(await self.coordinators()):
                await asyncio.sleep(0.2)

    async def said_by_what_cannot_start(self, before: set[str]) -> str:
        """Wait until a coordinator that is new has ended; its last words."""
        selector = "--selector=app.kubernetes.io/name=ips-coordinator"
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                found = await asyncio.to_thread(self.get_object, "pods", selector)
                for pod in found["items"]:
                    for status in pod["status"].get("containerStatuses", []):
                        ended = status["state"].get("terminated") or status["lastState"].get(
                            "terminated"
                        )
                        if pod["metadata"]["name"] not in before and ended:
                            return str(ended.get("message", ""))
                await asyncio.sleep(0.2)

    async def replaced(self, pod: str, uid: str) -> None:
        """Wait until a pod of the same name, but not of this uid, is ready."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                with suppress(KubectlError):
                    found = await asyncio.to_thread(self.get_object, "pod", pod)
                    if found["metadata"]["uid"] != uid and _is_ready(found):
                        return
                await asyncio.sleep(0.2)

    async def until_node(self, name: str, **facts: bool) -> None:
        """Wait until the service says so of a node: ``schedulable``, ``connected``."""
        seen: Json = {}
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while {key: seen.get(key) for key in facts} != facts:
                    with suppress(aiohttp.ClientError):
                        seen = await self.get(f"/nodes/{name}")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"never {facts}: {seen}") from None

    async def event_on_node(self, node: str, task: str) -> str:
        """Wait for an Event on a node that names a task; its text."""
        on_node = f"--field-selector=involvedObject.kind=Node,involvedObject.name={node}"
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                found = await asyncio.to_thread(self.cluster.get, "events", "-A", on_node)
                for event in found["items"]:
                    if task in event["message"]:
                        return str(event["message"])
                await asyncio.sleep(0.2)

    def python_in(self, pod: str, code: str) -> str:
        """What some Python prints in a pod's container. Blocks."""
        return self.kubectl("exec", pod, "--", "python3", "-c", code)

    async def ended_once(self, pod: str) -> Json:
        """Wait until a pod's container was started again; how it had ended."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                found = await asyncio.to_thread(self.get_object, "pod", pod)
                [container] = found["status"]["containerStatuses"]
                if container["restartCount"]:
                    return dict(container["lastState"]["terminated"])
                await asyncio.sleep(0.2)

    def kill_pod(self, name: str) -> None:
        """Delete a pod without any grace, and do not wait for its end."""
        self.kubectl("delete", "pod", name, "--grace-period=0", "--force", "--wait=false")

    # ── images ──

    def add_image(self, *, held: bool = False) -> str:
        """Put a new image that can be run into the registry; its reference.

        ``held`` lets no pull of it end before ``release``.
        """
        repository = f"shop/image-{secrets.token_hex(4)}"
        registry = self.cluster.registry
        registry.put(repository, "1", runnable(make_layer(_SIZE, seed=repository)))
        if held:
            registry.faults(repository).stall(after=_HELD_AT)
        return f"registry.example.com/{repository}:1"

    def release(self, image: str) -> None:
        """Let pulls of an image end."""
        self.cluster.registry.faults(_repository(image)).heal()

    def requests(self, image: str) -> int:
        """How often the registry was asked for a part of an image."""
        repository = _repository(image)
        return sum(hit.repository == repository for hit in self.cluster.registry.hits)

    async def post_when_taken(self, images: list[str], **more: Any) -> str:
        """Create a task, and ask again as long as the service says that it takes none now."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                try:
                    return await self.post(images, **more)
                except aiohttp.ClientResponseError as refused:
                    if refused.status != HTTPStatus.SERVICE_UNAVAILABLE:
                        raise
                await asyncio.sleep(0.2)

    # ── what a task came to ──

    async def pulling(self, task: str, count: int) -> None:
        """Wait until so many nodes pull for a task."""
        await self.until(task, lambda seen: seen["progress"]["pullingNodes"] == count)

    async def ended_right(self, task: str, nodes: Sequence[str], *, attempt: int = 1) -> None:
        """Wait until a task is over; on each node all is there, and each was counted once.

        ``attempt`` is the highest that any of them may have needed.
        """
        seen = await self.over(task)
        assert seen["status"] == "completed", (seen, await self.nodes(task))
        progress = seen["progress"]
        counts = {key: progress[key] for key in ("totalNodes", "completedNodes", "failedNodes")}
        assert counts == {
            "totalNodes": len(nodes),
            "completedNodes": len(nodes),
            "failedNodes": 0,
        }
        found = await self.nodes(task)
        assert [node["nodeName"] for node in found] == sorted(nodes)
        assert {node["state"] for node in found} == {"succeeded"}
        assert max(node["attempt"] for node in found) <= attempt, found
        events = [
            (event["type"], event["subject"].partition("/")[2])
            for event in await self.events(task)
            if event["type"] in {"node.succeeded", "node.failed", "task.completed", "task.failed"}
        ]
        assert sorted(events) == [
            *(("node.succeeded", name) for name in sorted(nodes)),
            ("task.completed", ""),
        ]


@contextmanager
def installed(
    cluster: Cluster, overlay: Path, *, servers: int, before: Sequence[Sequence[str]] = ()
) -> Iterator[Installation]:
    """Apply an overlay as it is, and delete it in the end. ``servers`` of NATS are its own.

    ``before`` is what kubectl does in the empty namespace.
    """
    cluster.add_volumes(servers or 1)
    workloads = ["statefulset/ips-nats"] if servers else []
    cluster.kubectl("apply", "-k", DEPLOY / "namespace")
    cluster.kubectl("apply", "-k", DEPLOY / "roles")
    for arguments in before:
        cluster.kubectl("-n", NAMESPACE, *arguments)
    cluster.kubectl("apply", "-k", overlay)
    cluster.kubectl("-n", NAMESPACE, "create", "serviceaccount", USER)
    binding = ("create", "rolebinding", USER, "--clusterrole=ips-admin")
    cluster.kubectl("-n", NAMESPACE, *binding, f"--serviceaccount={NAMESPACE}:{USER}")
    try:
        yield Installation(cluster, [*workloads, _COORDINATOR, _AGENTS])
    finally:
        cluster.kubectl("delete", "-k", overlay, "--ignore-not-found")
        cluster.kubectl("delete", "-k", DEPLOY / "roles", "--ignore-not-found")
        cluster.kubectl("delete", "-k", DEPLOY / "namespace", "--ignore-not-found")


def _is_ready(pod: Json) -> bool:
    conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def _repository(image: str) -> str:
    return image.partition("/")[2].rpartition(":")[0]
