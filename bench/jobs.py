"""One Job per node against this service, on the same real cluster: time, and CPU of its API server.

Both only have to find that the image is there, on two real nodes and on more that are Node objects
without a machine (agents and kubelets of those are simulated). The Jobs are the cheapest that there
are: no token, no pull, ``/bin/true``. What the idle cluster costs is taken off both.
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from bench.bare_nodes import PREFIX, make_bare_nodes, pretended_kubelets, watched
from bench.figures import cpu_of, show
from sandbox.child import Child
from sandbox.kubernetes.cluster import Cluster, running_cluster
from sandbox.kubernetes.machines import child_of
from sandbox.kubernetes.node_images import put_busybox, put_nats, put_pause
from sandbox.kubernetes.our_images import put_our_images
from sandbox.programs import PROJECT, post_task

COUNTS = {2: 5, 20: 2, 100: 1}
"""How many nodes, and how often the Jobs are run for them, of which the mean is taken."""
TASKS = 20
"""How often the task is, which costs too little to be seen otherwise."""
NAMESPACE = "bench"
USER = "bench"
"""The ServiceAccount by which the API is used."""
IDLE_SECONDS = 20.0
CLOCK_TICK = 0.01
"""The least CPU time, in seconds, that the kernel tells of."""
SETTLE_SECONDS = 5.0
"""What the Jobs leave to be done is not the service's."""
_SILENCE_SECONDS = 3600
_ROLLED_OUT = ("statefulset/ips-nats", "deployment/ips-coordinator", "daemonset/ips-agent")


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds on the clock, and of the API server's CPU."""

    wall: float
    cpu: float


class Bench:
    """A cluster with the service, and as many nodes as the largest count needs."""

    def __init__(self, cluster: Cluster, image: str, http: aiohttp.ClientSession) -> None:
        self._cluster = cluster
        self._image = image
        self._http = http
        self._pid = child_of(cluster.plane.api_server.pid)
        self._idle = 0.0
        address = cluster.get("-n", "ips-system", "service", "ips-coordinator")["spec"]["clusterIP"]
        self._url = f"http://{address}"

    async def look_at_idle_cluster(self) -> None:
        """Measure what the API server does of itself, as CPU seconds in a second."""
        before = cpu_of(self._pid)
        await asyncio.sleep(IDLE_SECONDS)
        self._idle = (cpu_of(self._pid) - before) / IDLE_SECONDS

    async def cost(self, work: Callable[[], Awaitable[None]], times: int) -> Cost:
        """What some work costs beyond that: the mean of so many times, one after the other."""
        began, before = time.monotonic(), cpu_of(self._pid)
        for _ in range(times):
            await work()
        wall = time.monotonic() - began
        cpu = cpu_of(self._pid) - before - self._idle * wall
        return Cost(wall / times, max(CLOCK_TICK, cpu) / times)

    async def by_jobs(self, nodes: Sequence[str]) -> None:
        """One Job for each node, all at once, until all are complete."""
        run = secrets.token_hex(4)
        async with self._cluster.plane.client() as http, asyncio.TaskGroup() as group:
            for node in nodes:
                group.create_task(self._create_job(http, run, node))
            complete: set[str] = set()
            async for _, job in watched(http, self._jobs, labelSelector=f"run={run}"):
                conditions = job.get("status", {}).get("conditions", [])
                if any(c["type"] == "Complete" and c["status"] == "True" for c in conditions):
                    complete.add(job["metadata"]["name"])
                if len(complete) == len(nodes):
                    return

    async def by_service(self, nodes: Sequence[str]) -> None:
        """One task for all nodes, until it is completed."""
        body = {"images": [self._image], "nodeNames": list(nodes), "batchSize": len(nodes)}
        task = await post_task(self._http, self._url, body)
        async with self._http.get(f"{self._url}/api/v1/tasks/{task}/events") as stream:
            async for line in stream.content:
                if line.startswith(b"event: task.completed"):
                    return
        raise AssertionError("the task did not complete")

    async def all_connected(self, count: int) -> None:
        """Wait until the service knows so many nodes and hears all of them."""
        while True:
            async with self._http.get(f"{self._url}/api/v1/nodes?limit=1000") as answer:
                nodes = (await answer.json())["nodes"] if answer.ok else []
            if sum(node["connected"] and node["schedulable"] for node in nodes) == count:
                return
            await asyncio.sleep(0.2)

    @property
    def _jobs(self) -> str:
        return f"{self._cluster.plane.access.url}/apis/batch/v1/namespaces/{NAMESPACE}/jobs"

    async def _create_job(self, http: aiohttp.ClientSession, run: str, node: str) -> None:
        pod = {
            "restartPolicy": "Never",
            "nodeName": node,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "containers": [{"name": "main", "image": self._image, "command": ["/bin/true"]}],
        }
        job = {
            "metadata": {"name": f"{node}-{run}", "labels": {"run": run}},
            "spec": {"backoffLimit": 0, "template": {"spec": pod}},
        }
        async with http.post(self._jobs, json=job) as answer:
            answer.raise_for_status()


async def run() -> None:
    """Measure and print."""
    print(f"one Job per node against one task, {list(COUNTS)} nodes, 2 of them real")
    names = [f"{PREFIX}{number:03}" for number in range(max(COUNTS) - 2)]
    async with running_cluster(node_silence=_SILENCE_SECONDS) as cluster:
        image = await asyncio.to_thread(_fill, cluster)
        await make_bare_nodes(cluster.plane, names)
        async with (
            _client_on_a_node(cluster) as http,
            _agents(cluster, names),
            pretended_kubelets(cluster.plane, NAMESPACE),
        ):
            bench = Bench(cluster, image, http)
            await bench.all_connected(max(COUNTS))
            real = sorted(cluster.nodes)
            await bench.by_jobs(real)  # from now on the image is there
            await bench.by_service([*real, *names])
            await asyncio.sleep(SETTLE_SECONDS)
            await bench.look_at_idle_cluster()
            for count, times in COUNTS.items():
                await _compare(bench, [*real, *names][:count], times)


async def _compare(bench: Bench, nodes: Sequence[str], times: int) -> None:
    jobs = await bench.cost(lambda: bench.by_jobs(nodes), times)
    await asyncio.sleep(SETTLE_SECONDS)
    task = await bench.cost(lambda: bench.by_service(nodes), TASKS)
    count = len(nodes)
    show(f"{count} nodes by Jobs", f"{jobs.wall:.2f} s", f"{jobs.cpu * 1e3:.0f} ms of CPU")
    # All tasks together may have cost less than can be told.
    least = "over " if task.cpu * TASKS <= CLOCK_TICK else ""
    most = "under " if least else ""
    cpu = f"{most}{task.cpu * 1e3:.1f} ms of CPU"
    show(f"{count} nodes by a task", f"{task.wall:.2f} s", cpu)
    show(f"{count} nodes: Jobs / task, time", f"{jobs.wall / task.wall:.0f} x")
    show(
        f"{count} nodes: Jobs / task, CPU of the API server", f"{least}{jobs.cpu / task.cpu:.0f} x"
    )


def _fill(cluster: Cluster) -> str:
    """Put all images in, install the service and wait for it; a small image for the Jobs."""
    image = put_busybox(cluster.registry)
    for put in (put_pause, put_nats, put_our_images):
        put(cluster.registry)
    cluster.add_volumes(3)
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("apply", "-k", PROJECT / "deploy")
    cluster.kubectl("-n", "ips-system", "create", "serviceaccount", USER)
    admin = ("create", "clusterrolebinding", USER, "--clusterrole=cluster-admin")
    cluster.kubectl(*admin, f"--serviceaccount=ips-system:{USER}")
    for workload in _ROLLED_OUT:
        cluster.kubectl("-n", "ips-system", "rollout", "status", workload, "--timeout=300s")
    return image


def _client_on_a_node(cluster: Cluster) -> aiohttp.ClientSession:
    machine = cluster.nodes["node-1"].machine
    token = cluster.kubectl("-n", "ips-system", "create", "token", USER, "--duration=6h").strip()
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(socket_factory=machine.socket),
        headers={"Authorization": f"Bearer {token}"},
    )


@asynccontextmanager
async def _agents(cluster: Cluster, names: Sequence[str]) -> AsyncIterator[None]:
    """Simulated agents, on node-1, in a process of their own."""
    secret = cluster.get("-n", "ips-system", "secret", "ips-nats")
    service = cluster.get("-n", "ips-system", "service", "ips-nats")
    settings = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(PROJECT),
        "IPS_NATS_URL": f"nats://{service['spec']['clusterIP']}:4222",
        "IPS_NATS_TOKEN": base64.b64decode(secret["data"]["token"]).decode(),
    }
    command = [sys.executable, "-m", "bench.agents", *names]
    log = cluster.folder / "agents.log"
    agents = Child(cluster.nodes["node-1"].machine.inside(command), log, env=settings)
    agents.start()
    try:
        yield
    finally:
        await agents.kill()


if __name__ == "__main__":
    asyncio.run(run())
