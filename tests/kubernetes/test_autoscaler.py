"""The autoscaler of ``deploy/`` at Kubernetes' own controller: to three and back, as load goes.

Pods and what they use are said by the test, which is the metrics server of this cluster.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from sandbox.certificates import self_signed
from sandbox.child import Child
from sandbox.kubernetes.parts import find
from sandbox.ports import LOOPBACK, free_port
from tests.fixtures.kubernetes import Kube
from tests.fixtures.patience import PATIENCE
from tests.kubernetes.conftest import NAMESPACE
from tests.kubernetes.manifests import Json, build, one

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]

GROUP = "metrics.k8s.io/v1beta1"
API_SERVICE = "/apis/apiregistration.k8s.io/v1/apiservices"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
AUTOSCALERS = f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers"
SERVICES = f"/api/v1/namespaces/{NAMESPACE}/services"


class Metrics:
    """A metrics server; ``used`` is what it says that each pod uses, in thousandths of a core."""

    def __init__(self) -> None:
        self.used: dict[str, int] = {}

    async def resources(self, _request: web.Request) -> web.Response:
        """What it knows of."""
        pods = {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics"}
        listed = {"kind": "APIResourceList", "groupVersion": GROUP}
        return web.json_response(listed | {"resources": [pods | {"verbs": ["get", "list"]}]})

    async def pods(self, _request: web.Request) -> web.Response:
        """What all pods use."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        items = [
            {
                "metadata": {"name": name, "namespace": NAMESPACE},
                "timestamp": now,
                "window": "15s",
                "containers": [{"name": "coordinator", "usage": {"cpu": f"{used}m"}}],
            }
            for name, used in self.used.items()
        ]
        listed = {"kind": "PodMetricsList", "apiVersion": GROUP, "metadata": {}}
        return web.json_response(listed | {"items": items})

    @asynccontextmanager
    async def served(self, folder: Path) -> AsyncIterator[int]:
        """Answer over TLS; the port."""
        made = self_signed(folder)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(made.certificate, made.key)
        app = web.Application()
        app.router.add_get(f"/apis/{GROUP}", self.resources)
        app.router.add_get(f"/apis/{GROUP}/namespaces/{{namespace}}/pods", self.pods)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            port = free_port()
            await web.TCPSite(runner, LOOPBACK, port, ssl_context=context).start()
            yield port
        finally:
            await runner.cleanup()


@asynccontextmanager
async def metrics_api(kube: Kube, port: int) -> AsyncIterator[None]:
    """Have the API server ask the test for metrics."""
    service = {"metadata": {"name": "metrics"}}
    outside = {"type": "ExternalName", "externalName": "localhost"}
    await kube.call("POST", SERVICES, service | {"spec": outside})
    registered = {
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {
            "service": {"name": "metrics", "namespace": NAMESPACE, "port": port},
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "insecureSkipTLSVerify": True,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        },
    }
    await kube.call("POST", API_SERVICE, registered)
    try:
        yield
    finally:
        await kube.call("DELETE", f"{API_SERVICE}/v1beta1.metrics.k8s.io")


@asynccontextmanager
async def autoscaling(kube: Kube, folder: Path) -> AsyncIterator[None]:
    """Run Kubernetes' controller of autoscalers, which looks every second."""
    command: list[str | Path] = [
        find("kube-controller-manager"),
        f"--kubeconfig={kube.config}",
        f"--authentication-kubeconfig={kube.config}",
        f"--authorization-kubeconfig={kube.config}",
        "--authentication-skip-lookup",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={free_port()}",
        f"--cert-dir={folder}",
        "--leader-elect=false",
        "--controllers=horizontal-pod-autoscaler-controller",
        "--horizontal-pod-autoscaler-sync-period=1s",
        "--horizontal-pod-autoscaler-downscale-stabilization=2s",
    ]
    controller = Child(command, folder / "controller-manager.log")
    controller.start()
    try:
        yield
        assert controller.pid is not None, controller.log[-2000:]
    finally:
        await controller.kill()


async def run_pod(kube: Kube, deployment: Json, number: int) -> str:
    """A pod of the Deployment that has been ready for an hour, on no node; its name."""
    name = f"ips-coordinator-{number}"
    container = {"name": "coordinator", "image": "none"}
    pod = {
        "metadata": {"name": name, "labels": deployment["spec"]["template"]["metadata"]["labels"]},
        "spec": {"containers": [container | {"resources": {"requests": {"cpu": "250m"}}}]},
    }
    await kube.call("POST", PODS, pod)
    since = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": since}
    status = {"phase": "Running", "startTime": since, "conditions": [ready]}
    await kube.call("PATCH", f"{PODS}/{name}/status", {"status": status})
    return name


async def until_wanted(kube: Kube, replicas: int) -> None:
    """Wait until so many coordinators are wanted."""
    found: Json = {}
    try:
        async with asyncio.timeout(PATIENCE):
            while found.get("spec", {}).get("replicas") != replicas:
                found = await kube.call("GET", f"{DEPLOYMENTS}/ips-coordinator")
                await asyncio.sleep(0.2)
    except TimeoutError:
        said = await kube.call("GET", f"{AUTOSCALERS}/ips-coordinator")
        raise AssertionError(f"never {replicas}: {said['status']}") from None


@pytest.mark.usefixtures("namespace")
async def test_coordinators_become_three_under_load_and_two_again(
    kube: Kube, tmp_path: Path
) -> None:
    """One that is made is two at once; a leader that is busy with its own work makes no third."""
    objects, metrics = build("."), Metrics()
    deployment = one(objects, "Deployment", "ips-coordinator")
    async with metrics.served(tmp_path) as port, metrics_api(kube, port):
        await kube.call("POST", DEPLOYMENTS, deployment)
        pods = [await run_pod(kube, deployment, number) for number in (1, 2)]
        metrics.used = dict(zip(pods, (900, 200), strict=True))
        autoscaler = one(objects, "HorizontalPodAutoscaler", "ips-coordinator")
        await kube.call("POST", AUTOSCALERS, autoscaler)
        async with autoscaling(kube, tmp_path):
            await until_wanted(kube, 2)
            metrics.used = dict.fromkeys(pods, 1000)
            await until_wanted(kube, 3)
            pods.append(await run_pod(kube, deployment, 3))
            metrics.used = dict.fromkeys(pods, 100)
            await until_wanted(kube, 2)
